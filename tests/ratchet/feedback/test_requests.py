from __future__ import annotations

import json
from typing import Any

import pytest

from ratchet.errors import InputError
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.requests import read_feedback, read_feedback_batch, read_prediction_id

GOOD: dict[str, Any] = {"prediction_id": "01", "target": "setosa"}


def fields(body: bytes) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_feedback(body)
    return [problem.field for problem in caught.value.problems]


def test_every_field_is_read() -> None:
    body = json.dumps({**GOOD, "correct": True, "correction": True}).encode()
    assert read_feedback(body) == Feedback("01", "setosa", correct=True, correction=True, source="user")
    assert read_feedback(b'{"prediction_id": "01", "correct": false}') == Feedback("01", None, correct=False)
    assert read_feedback(b'{"prediction_id": "01", "target": 0}') == Feedback("01", 0)
    assert read_feedback(b'{"prediction_id": "01", "target": true}') == Feedback("01", True)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prediction_id": 1}, "prediction_id"),
        ({"prediction_id": ""}, "prediction_id"),
        ({"prediction_id": "0" * 43}, "prediction_id"),
        ({"prediction_id": "0\x00"}, "prediction_id"),
        ({"prediction_id": None}, "prediction_id"),
        ({"target": None}, "target"),
        ({"target": ["setosa"]}, "target"),
        ({"target": {"setosa": 1}}, "target"),
        ({"target": float("nan")}, "target"),
        ({"target": float("inf")}, "target"),
        ({"correct": None}, "correct"),
        ({"correct": 1}, "correct"),
        ({"correct": "true"}, "correct"),
        ({"correction": "yes"}, "correction"),
        ({"colour": "blue"}, "colour"),
        ({"source": "link"}, "source"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], field: str) -> None:
    assert fields(json.dumps({**GOOD, **changes}).encode()) == [field]


def test_feedback_needs_a_target_or_correct() -> None:
    assert fields(b'{"prediction_id": "01"}') == ["target"]
    assert fields(b"{}") == ["prediction_id"]


@pytest.mark.parametrize("twice", [b'"target": "setosa"', b'"t\\u0061rget": "virginica"', b'"prediction_id": "01"'])
def test_a_field_that_is_given_twice_is_refused(twice: bytes) -> None:
    body = json.dumps(GOOD).encode()[:-1] + b", " + twice + b"}"
    assert fields(body) == [json.loads(b"{" + twice + b"}").popitem()[0]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"setosa"',
        b"{",
        b"{}{}",
        json.dumps(GOOD).encode("utf-16"),
        json.dumps(GOOD).encode().replace(b"01", b"\xff"),
        json.dumps(GOOD).encode().replace(b"01", b"\\ud800"),
        b'{"prediction_id": "01", "target": ' + b"9" * 5000 + b"}",
        b'{"prediction_id": "01", "target": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_that_is_no_object_is_refused_as_a_whole(body: bytes) -> None:
    assert fields(body) == ["body"]


def test_an_integer_that_is_too_large_for_a_float_is_read() -> None:
    assert read_feedback(b'{"prediction_id": "01", "target": ' + b"9" * 400 + b"}").target == int("9" * 400)


def test_each_item_of_a_batch_is_read_separately() -> None:
    items = [GOOD, 5, {**GOOD, "colour": 1}, {"prediction_id": "02", "correct": False}, {}]
    found = read_feedback_batch(json.dumps({"feedback": items}).encode(), 5)
    assert found[0] == Feedback("01", "setosa", source="batch")
    assert found[3] == Feedback("02", None, correct=False, source="batch")
    named = [[problem.field for problem in item.problems] for item in found if isinstance(item, InputError)]
    assert named == [["body"], ["colour"], ["prediction_id"]]


def test_an_item_with_a_field_twice_is_refused_alone() -> None:
    good = json.dumps(GOOD).encode()
    twice = good[:-1] + b', "target": "virginica"}'
    first, second, third = read_feedback_batch(b'{"feedback": [' + b",".join([good, twice, good]) + b"]}", 5)
    assert isinstance(second, InputError)
    assert second.problems[0].field == "target"
    assert first == third == Feedback("01", "setosa", source="batch")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "feedback"),
        (b'{"feedback": []}', "feedback"),
        (b'{"feedback": {}}', "feedback"),
        (b'{"feedback": [1, 2, 3]}', "feedback"),
        (b'{"feedback": [1], "feedback": [2]}', "feedback"),
        (b'{"feedback": [1], "more": 2}', "more"),
        (b"[]", "body"),
        (b'{"feedback": [NaN', "body"),
    ],
)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(body: bytes, field: str) -> None:
    with pytest.raises(InputError) as caught:
        read_feedback_batch(body, 2)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_the_error_for_a_field_name_of_a_megabyte_is_short() -> None:
    (field,) = fields(json.dumps({**GOOD, "x" * 2**20: 1}).encode())
    assert len(field) <= 100


def test_a_prediction_id_is_read() -> None:
    assert read_prediction_id(b'{"prediction_id": "01"}') == "01"
    for body in (
        b"{}",
        b'{"prediction_id": 1}',
        b'{"prediction_id": "1", "prediction_id": "2"}',
        json.dumps(GOOD).encode(),
    ):
        with pytest.raises(InputError):
            read_prediction_id(body)
