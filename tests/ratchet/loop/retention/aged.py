"""Rows of the store that were made some days ago, and what retention leaves of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ratchet.loop.retention.retain import Outcome, retain
from ratchet.settings import Settings
from ratchet.store.archive import Archive
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch
from ratchet.store.predictions import Prediction, first_id, insert_predictions
from ratchet.store.tables import (
    drift_results,
    feedback,
    heartbeats,
    late_predictions,
    metadata,
    prediction_batches,
    predictions,
    promotions,
    training_runs,
)
from tests.store_rows import batch_of, prediction

DAY = 86400.0
_NUMBERS = itertools.count(1)


def new_id(days: float) -> str:
    """The id of a prediction that was made some days ago."""
    return f"{first_id(time.time() - days * DAY)}-7000-8000-{next(_NUMBERS):012x}"


def aged(days: float, **changes: Any) -> Prediction:
    """A prediction that was made some days ago."""
    return prediction(0, id=new_id(days), created_at=time.time() - days * DAY, **changes)


def inserted(store: Store, *days: float, **changes: Any) -> list[str]:
    """Insert predictions of some ages that are not late; return their ids."""
    rows = [aged(age, **changes) for age in days]
    insert_predictions(store, rows)
    forget_late(store)
    return [row["id"] for row in rows]


def inserted_batch(store: Store, days: float, n_rows: int = 3, **changes: Any) -> PredictionBatch:
    """Insert a batch of some age."""
    rows = [aged(days, features={"sepal_length": float(row)}) for row in range(n_rows)]
    batch = batch_of(rows, batch_id=new_id(days), created_at=time.time() - days * DAY, **changes)
    insert_predictions(store, [batch])
    forget_late(store)
    return batch


def forget_late(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(sa.delete(late_predictions))


def labelled(store: Store, ids: Sequence[str], days: float, **changes: Any) -> list[int]:
    """Insert feedback of some age on predictions; return its numbers."""
    row = {"revision": 1, "model": "iris", "version": "3", "target": "setosa", "correct": True, "source": "user"}
    row |= {"created_at": time.time() - days * DAY} | changes
    with store.transaction() as connection:
        for one in ids:
            connection.execute(sa.insert(feedback).values(**row, prediction_id=one))
        mine = sa.select(feedback.c.seq).where(feedback.c.prediction_id.in_(ids))
        return list(connection.scalars(mine.order_by(feedback.c.seq)))


def promoted(store: Store, version: str, days: float, **changes: Any) -> None:
    """Insert a promotion of some age."""
    at = time.time() - days * DAY
    row = {"operation_id": f"o{next(_NUMBERS)}", "model": "iris", "kind": "promote", "state": "completed"}
    row |= {"to_version": version, "reason": "r", "actor": "a", "token": 1, "created_at": at, "ended_at": at}
    with store.transaction() as connection:
        connection.execute(sa.insert(promotions).values(row | changes))


def watched(store: Store, days: float = 0.0) -> None:
    """Insert the heartbeat of a watcher that checked some days ago."""
    with store.transaction() as connection:
        beat = {"model": "iris", "looked_at": time.time() - days * DAY, "interval": 10.0}
        connection.execute(sa.insert(heartbeats).values(beat))


def run_of(store: Store, watermark: int, state: str, days: float, **changes: Any) -> None:
    """Insert a run of continuous training of some age."""
    row = {"model": "iris", "watermark": watermark, "config_hash": "c", "state": state, "reason": "r", "attempts": 1}
    row |= {"created_at": time.time() - days * DAY} | changes
    with store.transaction() as connection:
        connection.execute(sa.insert(training_runs).values(row))


def drift_window(store: Store, last: str, days: float, **changes: Any) -> None:
    """Insert the verdict on a window of the champion, version 3, that ends with a prediction."""
    row = {"model": "iris", "version": "3", "kind": "production", "first_prediction": last, "last_prediction": last}
    row |= {"n_rows": 1, "detected": False, "share": 0.0, "report": {"a": [1]}, "created_at": time.time() - days * DAY}
    with store.transaction() as connection:
        connection.execute(sa.insert(drift_results).values(row | changes))


def keep(settings: Settings, store: Store, **changes: Any) -> Outcome:
    """Keep ten days, or what is given."""
    return retain(settings.model_copy(update={"retention_days": 10.0} | changes), store)


def left(store: Store) -> list[str]:
    """The ids of the predictions and batches in the store."""
    with store.reading() as connection:
        single, batch = (connection.scalars(sa.select(table.c.id)).all() for table in (predictions, prediction_batches))
    return sorted([*single, *batch])


def archived(settings: Settings, kind: str = "predictions", key: str = "id") -> list[Any]:
    """The keys of archived rows."""
    archive = Archive(settings)
    return sorted(row[key] for file in archive.files(kind) for row in archive.rows(file))


def count(store: Store, table: str) -> int:
    """The rows of a table."""
    with store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(metadata.tables[table])) or 0)
