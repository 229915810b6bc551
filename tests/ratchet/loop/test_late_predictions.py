"""Predictions that are inserted late, such as from a journal after an outage of the store, are judged for drift."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from ratchet.inference.journal import Journal
from ratchet.inference.journal_mover import JournalMover
from ratchet.loop import triggers
from ratchet.loop.triggers import TriggerInput, TriggerResult, drift_detected
from ratchet.monitoring.drift.report import DriftReport
from ratchet.store.database import Store
from ratchet.store.predictions import LATE_AFTER, SETTLED_AFTER, Entry, Prediction, first_id, insert_predictions
from ratchet.store.tables import late_predictions
from tests.fitted import loop_config
from tests.store_rows import batch_of, prediction

WINDOW = 20
CONFIG = loop_config(f"triggers={{drift: {{window: {WINDOW}, k: 2, n: 3}}}}")
_NUMBERS = itertools.count(1)


class Judged:
    """Windows that were judged, as the numbers of their rows; a window of numbers from 1000 on has drifted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.windows: list[list[int]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        monkeypatch.setattr(triggers.drift, "compare_window", self._compare)

    @property
    def numbers(self) -> list[int]:
        return [number for window in self.windows for number in window]

    def _compare(self, features: pd.DataFrame, *_: Any) -> DriftReport:
        self.meanwhile()
        self.windows.append(features["number"].tolist())
        drifted = float((features["number"] >= 1000).mean())
        return DriftReport(reference="1", method="psi", n_rows=len(features), detected=drifted > 0.5, share=drifted)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Judged:
    return Judged(monkeypatch)


def row(number: int, age: float, **changes: Any) -> Prediction:
    """A prediction that was made some seconds ago."""
    made = f"{first_id(time.time() - age)}-7000-8000-{next(_NUMBERS):012x}"
    return prediction(0, id=made, version="1", features={"number": number}, **changes)


def rows(first: int, age: float, count: int = WINDOW) -> list[Prediction]:
    return [row(number, age) for number in range(first, first + count)]


def check(store: Store, last: Any = None) -> TriggerResult:
    """Check the trigger, an hour after the promotion of version 1."""
    found = drift_detected(TriggerInput(store, CONFIG, "1", time.time() - 3600, last, lambda: None, dict))  # type: ignore[arg-type, return-value]
    assert found is not None
    return found


def late_ids(store: Store) -> list[str]:
    with store.reading() as connection:
        return list(connection.scalars(sa.select(late_predictions.c.id).order_by(late_predictions.c.id)))


def test_rows_of_a_journal_that_are_replayed_after_an_outage_fire(store: Store, judged: Judged, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append(rows(1000, age=600.0, count=2 * WINDOW))
    journal.release()
    insert_predictions(store, rows(0, age=60.0))
    assert not check(store).fires
    assert judged.windows == [list(range(WINDOW))], "of the time after the outage"
    assert JournalMover(journal, lambda some: insert_predictions(store, some)).move() == 2 * WINDOW
    found = check(store)
    assert found.fires
    assert found.line.startswith("drift in 2 of the last 3 windows")
    assert judged.numbers[WINDOW:] == list(range(1000, 1000 + 2 * WINDOW))
    assert late_ids(store) == []


@pytest.mark.parametrize("seed", range(4))
def test_each_row_is_in_one_window_whatever_the_order_and_time_of_its_insertion(
    store: Store, judged: Judged, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Rows are inserted between the checks and while a window is compared."""
    insert_in_any_order(store, judged, monkeypatch, seed, largest_batch=0)


@pytest.mark.parametrize("seed", range(4))
def test_each_row_of_batches_is_in_one_window_whatever_the_order_and_time_of_their_insertion(
    store: Store, judged: Judged, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    insert_in_any_order(store, judged, monkeypatch, seed, largest_batch=2 * WINDOW)


def insert_in_any_order(
    store: Store, judged: Judged, monkeypatch: pytest.MonkeyPatch, seed: int, largest_batch: int
) -> None:
    monkeypatch.setattr(triggers, "_MOST_WINDOWS", 2)
    rng = random.Random(seed)
    waiting: list[Entry] = []
    number = 0
    while number < 12 * WINDOW:
        size = min(rng.randint(1, max(1, largest_batch)), 12 * WINDOW - number)
        single = [row(number + place, age=rng.uniform(10, 900)) for place in range(size)]
        waiting.append(batch_of(single, batch_id=single[0]["id"], version="1") if size > 1 else single[0])
        number += size
    rng.shuffle(waiting)

    def insert_some() -> None:
        count = rng.randrange(max(2, 2 * WINDOW // max(1, largest_batch // 2)))
        some, waiting[:] = waiting[:count], waiting[count:]
        insert_predictions(store, some + some[:3])

    judged.meanwhile = insert_some
    while waiting:
        insert_some()
        check(store)
    for _ in range(12):
        check(store)
    assert sorted(judged.numbers) == list(range(12 * WINDOW))
    assert late_ids(store) == []


def test_late_rows_complete_a_window_with_the_next_rows(store: Store, judged: Judged) -> None:
    insert_predictions(store, rows(0, age=60.0))
    check(store)
    insert_predictions(store, rows(500, age=600.0, count=5))
    assert check(store).line.endswith(f"(5 of {WINDOW} rows to the next window)")
    insert_predictions(store, rows(100, age=30.0))
    check(store)
    assert judged.windows[1] == [*range(500, 505), *range(100, 115)]
    assert check(store).line.endswith(f"(5 of {WINDOW} rows to the next window)")


def test_rows_of_several_workers_settle_before_they_are_judged(store: Store, judged: Judged) -> None:
    """Journals move rows up to a second late in ordinary operation; these rows are neither late nor missed."""
    insert_predictions(store, rows(100, age=0.0))
    assert check(store).line.endswith(f"(0 of {WINDOW} rows to the next window)")
    insert_predictions(store, rows(0, age=1.0))
    assert late_ids(store) == []


def test_a_row_is_late_by_its_age_if_it_is_new(store: Store) -> None:
    assert LATE_AFTER < SETTLED_AFTER
    late, fresh, future = row(0, LATE_AFTER + 1), row(1, 0.0), row(2, -3600.0)
    for _ in range(2):
        insert_predictions(store, [fresh, late, future, late])
        assert late_ids(store) == [late["id"]]
    with store.transaction() as connection:
        connection.execute(sa.delete(late_predictions))
    insert_predictions(store, [fresh, late, future])
    assert late_ids(store) == [], "a replay of rows that are in the store changes nothing"


def test_late_rows_of_another_version_or_from_before_the_promotion_are_in_no_window(
    store: Store, judged: Judged
) -> None:
    insert_predictions(store, rows(0, age=7200.0))
    insert_predictions(store, [{**one, "version": "2"} for one in rows(0, age=600.0)])
    insert_predictions(store, [{**one, "model": "other"} for one in rows(0, age=600.0)])
    insert_predictions(store, rows(0, age=-3600.0))
    check(store)
    assert judged.windows == []
