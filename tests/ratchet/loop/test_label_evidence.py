"""The check of labels in continuous training, which is stored."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet.loop.label_evidence import current_label_check
from ratchet.loop.production_status import _loop_status
from ratchet.monitoring.windows import newest_label_check
from ratchet.store.database import Store
from tests.fitted import loop_config
from tests.labels import Stream

SURE, UNSURE = {"setosa": 0.9, "versicolor": 0.1}, {"setosa": 0.6, "versicolor": 0.4}


@pytest.fixture
def stream(any_store: Store) -> Stream:
    return Stream(any_store)


def complaints(stream: Stream, count: int) -> None:
    """Store sure and unsure answers in turn, and labels for the unsure ones."""
    ids: list[Any] = [
        stream.answer([{"x": 1.0}], "setosa", probabilities=[UNSURE, SURE][at % 2 :][:1])[0] for at in range(2 * count)
    ]
    stream.label(ids[::2], "versicolor")


def test_labels_are_checked_again_after_fifty_new_ones(stream: Stream) -> None:
    config = loop_config()
    assert current_label_check(stream.store, config) is None
    complaints(stream, 49)
    assert current_label_check(stream.store, config) is None
    complaints(stream, 1)
    first = current_label_check(stream.store, config)
    assert first is not None
    assert (first.biased, first.evidence) == (True, "none")
    row = newest_label_check(stream.store, "iris")
    assert row is not None
    assert (row["biased"], row["report"]["reason"]) == (True, first.reason)
    complaints(stream, 49)
    assert current_label_check(stream.store, config) == first
    complaints(stream, 1)
    second = current_label_check(stream.store, config)
    assert second is not None
    assert second.n_labelled > first.n_labelled


def test_a_backlog_of_feedback_is_checked_once(stream: Stream) -> None:
    complaints(stream, 180)
    first = current_label_check(stream.store, loop_config())
    row = newest_label_check(stream.store, "iris")
    assert row is not None
    assert current_label_check(stream.store, loop_config()) == first
    assert newest_label_check(stream.store, "iris") == row


def test_the_status_shows_the_newest_check(stream: Stream) -> None:
    assert _loop_status(stream.store, "iris")["labels"] is None
    complaints(stream, 60)
    found = current_label_check(stream.store, loop_config())
    assert found is not None
    shown = _loop_status(stream.store, "iris")["labels"]
    assert (shown["biased"], shown["evidence"], shown["n_labelled"]) == (True, "none", found.n_labelled)
    assert shown["reason"].startswith("the chance of a label depends on the answer: labelled rows differ from all rows")


def test_another_audit_share_is_a_reason_to_check_again(stream: Stream) -> None:
    complaints(stream, 60)
    assert current_label_check(stream.store, loop_config()) is not None
    found = current_label_check(stream.store, loop_config("feedback.audit_share=0.5"))
    assert found is not None
    assert found.audit_share == 0.5
