"""Predictions that a service has acknowledged, and their rows in the store."""

from __future__ import annotations

from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import Prediction
from serving.journal_process import journal_of, mover_of
from tests.serving.running import wait_until


def stored(store: Store, prediction_id: str) -> Prediction:
    """The row of a prediction; a journal brings it within a second, and here within ten on a busy machine."""
    found: list[Prediction] = []

    def arrived() -> bool:
        found.extend(row for row in [find_prediction(store, prediction_id)] if row)
        return bool(found)

    wait_until(arrived, 10, lambda: f"there is no prediction {prediction_id} in the store")
    return found[0]


def recover(settings: Settings) -> None:
    """Move what a service has left in the journal, as the next one does at its start."""

    def moved() -> bool:  # a process that was killed may hold its locks for a moment longer
        mover = mover_of(settings)
        mover.stop()
        mover.run()
        return not journal_of(settings).segments()

    wait_until(moved, 20)
