"""What the pages of a run and a version say about a challenger."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet.registry.version_description import describe_challenger

RECORD: dict[str, Any] = {
    "primary_metric": "f1_macro",
    "metrics": {"f1_macro": 0.93333},
    "confidence_interval": [0.82, 1.0],
    "confidence": 0.9,
    "holdout_rows": 30,
    "git_commit": "abc",
    "git_dirty": False,
    "data_version": "d1",
}
FAILED = {"name": "floor", "passed": False, "reason": "f1_macro 0.9333, needed 0.95"}
DECISION: dict[str, Any] = {"version": "2", "outcome": "refused", "reason": "floor: too low", "checks": [FAILED]}


def test_a_description_has_metric_decision_data_and_commands() -> None:
    paragraphs = describe_challenger("iris", DECISION, RECORD).split("\n\n")
    assert paragraphs[0] == "Refused with f1_macro 0.9333 (90% interval 0.8200 to 1.0000, 30 held-out rows)"
    assert paragraphs[1] == "floor: too low"
    assert paragraphs[2] == "- data version: `d1`\n- commit: `abc`"
    assert "python run.py serve --model iris " in paragraphs[3]
    assert "python run.py reproduce 2 --model iris " in paragraphs[3]
    assert paragraphs[4].splitlines()[-1] == "| floor | **failed** | f1_macro 0.9333, needed 0.95 |"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"snapshot": "d1"}, "- data snapshot: `d1`"),
        ({"git_dirty": True}, "- commit: `abc` with uncommitted changes"),
        ({"study": "a<b>", "trial": 4}, r"- found by trial 4 of the study a\<b\>"),
        ({"warm_start": "1"}, "- continued from version 1"),
    ],
)
def test_the_origin_of_a_challenger_is_described(change: dict[str, Any], line: str) -> None:
    assert line in describe_challenger("iris", DECISION, RECORD | change).splitlines()


def test_a_record_of_an_earlier_release_has_no_level_and_no_rows() -> None:
    record = {key: value for key, value in RECORD.items() if key not in ("confidence", "holdout_rows")}
    assert "f1_macro 0.9333 (interval 0.8200 to 1.0000)\n" in describe_challenger("iris", DECISION, record)


def test_names_of_users_and_long_reasons_fit_on_the_page() -> None:
    check = FAILED | {"reason": "the column <script>|x " + "y" * 10_000}
    text = describe_challenger("iris", DECISION | {"checks": [check] * 8, "reason": check["reason"]}, RECORD)
    assert len(text) <= 5000
    assert r"\<script\>\|x" in text
    assert "<script>" not in text
