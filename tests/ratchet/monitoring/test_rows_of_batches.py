"""Every reader of production rows gives the same result for single rows and for the same rows as batches."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from ratchet.data.schema import Field, Schema
from ratchet.errors import RatchetError
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import ServedModel, feedback_of, find_for_review
from ratchet.loop import triggers
from ratchet.loop.snapshots import as_frame
from ratchet.loop.triggers import TriggerInput, drift_detected, quality_dropped
from ratchet.monitoring import production_rows
from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.label_bias import check_newest_labels
from ratchet.monitoring.windows import drift_windows, quality_windows
from ratchet.store.clock import rows_from_the_future
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch, row_id
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import Entry, first_id, insert_predictions
from ratchet.store.tables import feedback
from tests.fitted import loop_config
from tests.store_rows import batch_of, emptied, prediction, record_all

WINDOW = 20
CONFIG = loop_config(f"triggers={{drift: {{window: {WINDOW}, k: 9, n: 9}}, quality_drop: {{window: 35, k: 9, n: 9}}}}")
METRICS = {CONFIG.evaluate.primary_metric: 0.9}
SERVED = ServedModel("iris", ("setosa", "virginica"))
SCHEMA = Schema(
    features=(
        Field(name="number", type="number", nullable=False),
        Field(name="colour", type="category", nullable=True, categories=("blue", "red")),
    ),
    target="species",
    labels=("setosa", "virginica"),
)
# Number of rows, version, and seconds since their prediction; entries of one row are single predictions.
ENTRIES = [(1, "1", 900), (33, "1", 800), (1, "2", 700), (5, "2", 600), (1, "1", 500), (31, "1", 400), (4, "1", -7200)]


def id_at(at: float, number: int) -> str:
    return f"{first_id(at)}-7000-8000-{number:012x}"


def entries(now: float) -> list[PredictionBatch]:
    made = []
    for number, (size, version, age) in enumerate(ENTRIES):
        rows = []
        for row in range(size):
            features = {"number": number + row / 8, "colour": None if row % 5 == 0 else "red"}
            label = "setosa" if row % 3 else "virginica"
            score = 0.5 + row / 100
            shares = dict.fromkeys(SERVED.labels or (), 1 - score) | {label: score}
            rows.append(prediction(0, features=features, prediction=label, score=score, probabilities=shares))
        at = now - age
        made.append(batch_of(rows, batch_id=id_at(at, number), created_at=at, version=version))
    return made


def ids_of(batches: list[PredictionBatch]) -> list[str]:
    return [row_id(batch.id, row) for batch in batches for row in range(batch.n_rows)]


def give_feedback(store: Store, ids: list[str]) -> list[Any]:
    """Feedback on two of three rows, with a repetition, a contradiction, a correction, and one on an unknown row."""
    labelled = [prediction_id for number, prediction_id in enumerate(ids) if number % 3]
    items = [
        Feedback(prediction_id, "setosa" if number % 4 else "virginica")
        for number, prediction_id in enumerate(labelled)
    ]
    items += [items[3], dataclasses.replace(items[5], target="virginica", correction=True)]
    items += [
        Feedback(labelled[6], "virginica"),
        Feedback(labelled[9], correct=False),
        Feedback(ids[0][:36] + "#00077", "setosa"),
    ]
    items += [Feedback(labelled[1], "blue")]
    outcomes = record_all(store, [(item, SERVED) for item in items])
    with store.transaction() as connection:  # equal times in both stores
        connection.execute(sa.update(feedback).values(created_at=feedback.c.seq))
    return [str(result) if isinstance(result, RatchetError) else result.status for result in outcomes]


class World:
    """A store with production rows, each once as a single row, or in batches."""

    def __init__(self, store: Store, now: float, *, batched: bool) -> None:
        if not store.is_sqlite:
            with store.transaction() as connection:
                connection.execute(sa.text("TRUNCATE feedback RESTART IDENTITY"))
        self.store, batches = emptied(store), entries(now)
        self.ids = ids_of(batches)
        some: list[Entry] = [each for batch in batches for each in ([batch] if batched else batch.rows())]
        insert_predictions(store, some)
        self.outcomes = give_feedback(store, [one for one in self.ids if one < first_id(now)])
        self.trigger = TriggerInput(store, CONFIG, "1", now - 3600, None, lambda: None, lambda: METRICS)  # type: ignore[arg-type, return-value]

    def judge_drift(self) -> list[Any]:
        drift_detected(self.trigger)
        drift_detected(self.trigger)
        return [
            {key: value for key, value in window.items() if key not in ("id", "created_at")}
            for window in drift_windows(self.store, "iris", "1", 99)
        ]

    def judge_quality(self) -> list[Any]:
        quality_dropped(self.trigger)
        return [window["report"] for window in quality_windows(self.store, "iris", "1", 99)]


READERS: dict[str, Callable[[World], Any]] = {
    "find": lambda world: [find_prediction(world.store, one) for one in [*world.ids, world.ids[1][:36], "x"]],
    "feedback": lambda world: world.outcomes,
    "history": lambda world: [feedback_of(world.store, one) for one in world.ids],
    "review": lambda world: [find_for_review(world.store, one, SERVED) for one in world.ids],
    "newest": lambda world: production_rows.newest_predictions(world.store, "iris", None, 50),
    "newest of a version": lambda world: production_rows.newest_predictions(world.store, "iris", "2", 3),
    "next": lambda world: production_rows.predictions_between(
        world.store, "iris", "1", world.ids[7], world.ids[60], 30
    ),
    "late": lambda world: production_rows.late_between(world.store, "iris", "1", "", first_id(time.time()), 40),
    "asked": lambda world: production_rows.asked_rows(world.store, "iris", world.ids[4], world.ids[60], 50),
    "asked with targets": lambda world: production_rows.asked_rows(
        world.store, "iris", world.ids[4], world.ids[60], 50, up_to=40, targets=True
    ),
    "labelled": lambda world: production_rows.labelled_rows(world.store, "iris", "1", 30),
    "labelled at a watermark": lambda world: production_rows.labels_up_to(world.store, "iris", 35, 30),
    "snapshot": lambda world: as_frame(production_rows.labels_up_to(world.store, "iris", 99, 99), SCHEMA).to_dict(),
    "label bias": lambda world: check_newest_labels(world.store, "iris", 0.1, classes=True),
    "drift windows": World.judge_drift,
    "quality windows": World.judge_quality,
}


@pytest.fixture
def drift(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(features: pd.DataFrame, answers: list[Any], *_: Any) -> DriftReport:
        share = (features["number"].sum() + answers.count("setosa")) / 1e6
        return DriftReport(reference="1", method="psi", n_rows=len(features), detected=False, share=share)

    monkeypatch.setattr(triggers.drift, "compare_window", compare)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.usefixtures("drift")
def test_a_reader_gives_the_same_for_single_rows_and_for_batches(store: Store, reader: str) -> None:
    now = time.time()
    of_rows = READERS[reader](World(store, now, batched=False))
    of_batches = READERS[reader](World(store, now, batched=True))
    assert repr(of_batches) == repr(of_rows)
    assert of_rows


def test_a_window_that_ends_in_a_batch_is_continued_by_the_next_one(store: Store, drift: None) -> None:
    world = World(store, time.time(), batched=True)
    windows = world.judge_drift()[::-1]
    first, last = (ENTRIES.index(entry) for entry in ((33, "1", 800), (31, "1", 400)))
    batches = entries(0)
    assert [window["n_rows"] for window in windows] == [WINDOW] * 3
    assert windows[0]["last_prediction"].endswith("#00018"), "after one single row"
    assert windows[1]["first_prediction"] == windows[0]["last_prediction"][:-5] + "00019"
    assert windows[2]["last_prediction"].endswith("#00024")
    assert (batches[first].n_rows, batches[last].n_rows) == (33, 31)
    late = production_rows.late_between(store, "iris", "1", "", first_id(time.time()), 99)
    assert [row.prediction_id[-5:] for row in late] == [f"{row:05d}" for row in range(25, 31)]


def test_a_batch_from_the_future_is_reported(store: Store) -> None:
    World(store, time.time(), batched=True)
    assert [line.split(" at ")[0] for line in rows_from_the_future(store)] == ["a batch of predictions"]
