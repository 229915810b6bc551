"""Predictions and feedback, read from a real store."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import uuid_utils

from ratchet.monitoring import production_rows
from ratchet.store.database import Store
from ratchet.store.predictions import first_id, insert_predictions
from tests.labels import Stream, statements
from tests.store_rows import batch_of, prediction

ROW = {"x": 1.5}


@pytest.fixture
def stream(store: Store) -> Stream:
    return Stream(store)


def test_without_feedback_the_watermark_and_all_counts_are_zero(store: Store) -> None:
    assert production_rows.watermark(store, "iris") == 0
    assert production_rows.count_labels(store, "iris", 0, 10) == 0
    assert production_rows.labelled_rows(store, "iris", "1", 10) == []
    assert production_rows.labels_up_to(store, "iris", 0, 10) == []
    assert production_rows.newest_predictions(store, "iris", None, 10) == []


def test_the_watermark_is_the_newest_feedback_of_this_model(stream: Stream) -> None:
    other = Stream(stream.store, "wine")
    seqs = stream.label(stream.answer([ROW] * 3, "a"), "a")
    later = other.label(other.answer([ROW], "a", at=time.time() + 1), "a")
    assert production_rows.watermark(stream.store, "iris") == seqs[-1]
    assert production_rows.watermark(stream.store, "wine") == later[-1] > seqs[-1]


def test_labels_are_counted_after_the_watermark_up_to_a_limit(stream: Stream) -> None:
    seqs = stream.label(stream.answer([ROW] * 5, "a"), "a")
    assert production_rows.count_labels(stream.store, "iris", 0, 100) == 5
    assert production_rows.count_labels(stream.store, "iris", seqs[1], 100) == 3
    assert production_rows.count_labels(stream.store, "iris", 0, 2) == 2
    assert production_rows.count_labels(stream.store, "wine", 0, 100) == 0


def test_labels_are_counted_by_the_version_that_predicted(stream: Stream) -> None:
    stream.label(stream.answer([ROW] * 2, "a", version="1"), "a")
    stream.label(stream.answer([ROW] * 3, "a", version="2"), None, correct=False)
    assert len(production_rows.judged_after(stream.store, "iris", "2", 0, 100)) == 3
    assert len(production_rows.judged_after(stream.store, "iris", "2", 0, 2)) == 2


def test_a_correction_does_not_count_as_a_new_label(stream: Stream) -> None:
    ids = stream.answer([ROW] * 2, "a")
    stream.label(ids, "a")
    stream.label(ids[:1], "b")
    assert production_rows.count_labels(stream.store, "iris", 0, 100) == 2
    assert len(production_rows.judged_after(stream.store, "iris", "1", 0, 100)) == 2


def test_a_row_marked_as_wrong_counts_when_its_target_arrives(stream: Stream) -> None:
    ids = stream.answer([ROW], "a")
    stream.label(ids, None, correct=False)
    assert production_rows.count_labels(stream.store, "iris", 0, 100) == 0
    seqs = stream.label(ids, "b", correct=False)
    assert production_rows.count_labels(stream.store, "iris", 0, 100) == 1
    assert production_rows.nth_label(stream.store, "iris", 0, 1) == seqs[0]
    stream.label(ids, "c", correct=False)
    assert production_rows.count_labels(stream.store, "iris", 0, 100) == 1, "from here on these are corrections"


def test_the_nth_label_skips_feedback_that_does_not_count(stream: Stream) -> None:
    ids = stream.answer([ROW] * 4, "a")
    first = stream.label(ids[:2], "a")
    stream.label(ids[:1], "b")
    stream.label(ids[2:3], None, correct=False)
    last = stream.label(ids[3:], "a")
    assert [production_rows.nth_label(stream.store, "iris", 0, n) for n in (1, 2, 3)] == [*first, *last]
    assert production_rows.nth_label(stream.store, "iris", first[0], 2) == last[0]


def test_labelled_rows_are_the_newest_of_one_version_with_their_current_label(stream: Stream) -> None:
    ids = stream.answer([{"x": float(n)} for n in range(4)], "a", version="1", probabilities={"a": 0.9, "b": 0.1})
    stream.label(stream.answer([ROW], "a", version="2"), "a")
    stream.label(ids, "a", correct=True)
    stream.label(ids[:1], "b", correct=False)
    rows = production_rows.labelled_rows(stream.store, "iris", "1", 3)
    assert [(row.prediction_id, row.target, row.correct) for row in rows] == [
        (ids[0], "b", False),
        (ids[3], "a", True),
        (ids[2], "a", True),
    ]
    assert rows[0].features == {"x": 0.0}
    assert (rows[0].version, rows[0].prediction, rows[0].probabilities) == ("1", "a", {"a": 0.9, "b": 0.1})
    assert rows[0].seq == production_rows.watermark(stream.store, "iris")
    assert rows[0].created_at == pytest.approx(time.time(), abs=60)


def test_a_row_marked_as_wrong_is_measured_and_not_trained_on(stream: Stream) -> None:
    ids = stream.answer([ROW] * 2, "a")
    seqs = stream.label(ids[:1], None, correct=False) + stream.label(ids[1:], "a", correct=True)
    judged = production_rows.labelled_rows(stream.store, "iris", "1", 10)
    assert [(row.target, row.correct) for row in judged] == [("a", True), (None, False)]
    trained_on = production_rows.labels_up_to(stream.store, "iris", seqs[-1], 10)
    assert [row.prediction_id for row in trained_on] == ids[1:]


def test_the_rows_of_a_watermark_never_change(stream: Stream) -> None:
    ids = stream.answer([ROW] * 3, "a")
    seqs = stream.label(ids[:2], "a")
    before = production_rows.labels_up_to(stream.store, "iris", seqs[-1], 10)
    corrected = stream.label(ids[:1], "b")
    stream.label(ids[2:], "a")
    assert production_rows.labels_up_to(stream.store, "iris", seqs[-1], 10) == before
    assert [row.target for row in production_rows.labels_up_to(stream.store, "iris", corrected[0], 10)] == ["b", "a"]
    assert [row.target for row in production_rows.labels_up_to(stream.store, "iris", 10**6, 10)] == ["b", "a", "a"]


def test_a_withdrawn_target_is_not_trained_on(stream: Stream) -> None:
    ids = stream.answer([ROW], "a")
    stream.label(ids, "a")
    seqs = stream.label(ids, None, correct=False)
    assert production_rows.labels_up_to(stream.store, "iris", seqs[0], 10) == []


def test_training_rows_are_of_every_version_in_the_order_of_their_predictions(stream: Stream) -> None:
    ids = stream.answer([ROW] * 2, "a", version="1") + stream.answer([ROW] * 2, "a", version="2")
    shuffled = [ids[3], ids[0], ids[2], ids[1]]
    seqs = stream.label(shuffled, "a")
    assert [row.prediction_id for row in production_rows.labels_up_to(stream.store, "iris", seqs[-1], 10)] == ids
    newest = production_rows.labels_up_to(stream.store, "iris", seqs[-1], 2)
    assert [row.prediction_id for row in newest] == [ids[1], ids[2]], "the labels that came last"


def test_the_newest_predictions_are_found_by_model_version_and_id(stream: Stream) -> None:
    first = stream.answer([ROW] * 3, "a", version="1", probabilities={"a": 1.0})
    second = stream.answer([ROW] * 2, "a", version="2")
    other = Stream(stream.store, "wine")
    other.answer([ROW], "a", at=time.time() + 9)

    def found(version: str | None, limit: int, **options: Any) -> list[str]:
        rows = production_rows.newest_predictions(stream.store, "iris", version, limit, **options)
        return [row.prediction_id for row in rows]

    assert found(None, 10) == [*second[::-1], *first[::-1]]
    assert found("1", 2) == [first[2], first[1]]
    assert found("1", 10, after=first[1]) == [first[2]]
    assert found("3", 10) == []


@pytest.mark.parametrize(
    ("prediction", "target"), [("setosa", "virginica"), (3, 4), (151.0, 148.5)], ids=["text", "integer", "number"]
)
def test_labels_and_features_keep_their_values_and_types(stream: Stream, prediction: Any, target: Any) -> None:
    features = {"number": 0.1 + 0.2, "text": "plus", "gap": None}
    stream.label(stream.answer([features], prediction), target)
    row = production_rows.labelled_rows(stream.store, "iris", "1", 1)[0]
    assert row.features == features
    assert (row.prediction, type(row.prediction)) == (prediction, type(prediction))
    assert (row.target, type(row.target)) == (target, type(target))


def test_a_time_divides_the_ids_of_predictions() -> None:
    made = str(uuid_utils.uuid7())
    now = time.time()
    assert first_id(now - 60) < made < first_id(now + 60)


QUESTIONS: dict[str, Callable[[Store], Any]] = {
    "watermark": lambda store: production_rows.watermark(store, "iris"),
    "count": lambda store: production_rows.count_labels(store, "iris", 0, 5),
    "feedback of a version": lambda store: production_rows.judged_after(store, "iris", "1", 0, 5),
    "feedback": lambda store: production_rows.feedback_after(store, "iris", 5, 5),
    "labelled ids": lambda store: production_rows.newest_labelled_ids(store, "iris", 5),
    "labelled ids up to": lambda store: production_rows.newest_labelled_ids(store, "iris", 5, up_to=9),
    "asked": lambda store: production_rows.asked_rows(store, "iris", "0", "f", 5),
    "asked up to": lambda store: production_rows.asked_rows(store, "iris", "0", "f", 5, up_to=9, targets=True),
    "next predictions": lambda store: production_rows.predictions_between(store, "iris", "1", "", "f", 5),
    "late predictions": lambda store: production_rows.late_between(store, "iris", "1", "", "f", 5),
    "nth": lambda store: production_rows.nth_label(store, "iris", 0, 2),
    "labelled": lambda store: production_rows.labelled_rows(store, "iris", "1", 5),
    "up to": lambda store: production_rows.labels_up_to(store, "iris", 7, 5),
    "newest": lambda store: production_rows.newest_predictions(store, "iris", "1", 5),
}


@pytest.mark.sqlite("reads SQLite's plan of a query")
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_query_uses_an_index(any_store: Store, question: str) -> None:
    stream = Stream(any_store)
    stream.label(stream.answer([ROW] * 3, "a"), "a")
    insert_predictions(any_store, [batch_of([prediction(0)] * 3, version="1")])
    with contextmanager(statements)(any_store) as asked:
        QUESTIONS[question](any_store)
    assert 1 <= len(asked) <= 4
    for statement, parameters in asked:
        with any_store.reading() as connection:
            plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert any("INDEX" in step or "PRIMARY KEY" in step for step in plan), plan
        assert not [
            step for step in plan if re.match(r"SCAN (feedback|predictions|prediction_batches|older)\b", step)
        ], plan
        assert not [step for step in plan if "TEMP B-TREE" in step], plan
