"""Everything that reads features works on rows whose features were forgotten: single ones, and rows of batches."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ratchet.config.continuous import QualityDrop
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import ServedModel, find_for_review
from ratchet.loop.forget.places import Forgotten
from ratchet.loop.forget.stored_rows import StoredRows
from ratchet.monitoring.live_quality import measure
from ratchet.monitoring.production_rows import (
    asked_rows,
    labelled_rows,
    labels_up_to,
    late_between,
    newest_predictions,
    predictions_between,
    watermark,
)
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction, first_id, insert_predictions
from tests.store_rows import batch_of, prediction, record_all

_BEGAN = 1_700_000_000.0
# Every third row is forgotten.
ROWS = 12


def rows_from(at: float) -> list[Prediction]:
    return [
        prediction(number, id=f"{first_id(at + number)}-7000-8000-{number:012x}", created_at=at + number)
        for number in range(ROWS)
    ]


@pytest.fixture(params=["single", "batch"])
def ids(request: pytest.FixtureRequest, store: Store) -> list[str]:
    """Labelled predictions, of which every third one is forgotten."""
    rows = rows_from(_BEGAN)
    if request.param == "single":
        insert_predictions(store, rows)
        found = [row["id"] for row in rows]
    else:
        batch = batch_of(rows, batch_id=rows[0]["id"], created_at=_BEGAN)
        insert_predictions(store, [batch])
        found = [row["id"] for row in batch.rows()]
    record_all(store, [(Feedback(each, "setosa"), ServedModel("iris")) for each in found])
    StoredRows(store, "iris").erase(Forgotten(1, frozenset(found[::3])))
    return found


Reader = Callable[[Store, int], list[str]]
READERS: dict[str, Reader] = {
    "newest": lambda store, limit: [row.prediction_id for row in newest_predictions(store, "iris", "3", limit)][::-1],
    "between": lambda store, limit: [
        row.prediction_id for row in predictions_between(store, "iris", "3", "", first_id(time.time()), limit)
    ],
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_rows_without_features_are_left_out_and_others_take_their_place(
    reader: Reader, store: Store, ids: list[str]
) -> None:
    kept = [found for at, found in enumerate(ids) if at % 3]
    assert reader(store, 100) == kept
    assert len(reader(store, 5)) == 5


def test_late_rows_without_features_are_in_no_window(store: Store, ids: list[str]) -> None:
    late = [row.prediction_id for row in late_between(store, "iris", "3", "", first_id(time.time()), 100)]
    assert late == [found for at, found in enumerate(ids) if at % 3]


def test_rows_without_features_are_not_trained_on(store: Store, ids: list[str]) -> None:
    rows = labels_up_to(store, "iris", watermark(store, "iris"), 100)
    assert [row.prediction_id for row in rows] == [found for at, found in enumerate(ids) if at % 3]


def test_rows_without_features_count_for_quality_and_label_checks(store: Store, ids: list[str]) -> None:
    rows = labelled_rows(store, "iris", "3", 100)
    assert sorted(row.prediction_id for row in rows) == ids
    found = measure(rows, [], "3", "accuracy", QualityDrop(minimum_rows=10), None, 0, "classification", time="time")
    assert (found.n_rows, found.value) == (ROWS, 1.0)
    assert [row.prediction_id for row in asked_rows(store, "iris", ids[0], ids[-1], 100)] == ids


def test_a_reviewer_sees_a_prediction_without_features(store: Store, ids: list[str]) -> None:
    served = ServedModel("iris", ("setosa", "versicolor", "virginica"))
    assert [find_for_review(store, found, served).features == {} for found in ids[:3]] == [True, False, False]
