"""The one clock of a store, and times that cannot be right.

All processes on a store compare times by its clock: that of PostgreSQL's server, or of the machine that has the SQLite
file. That clock can be wrong too, and be set right later. A time in the future is therefore void wherever one is
compared: what it would have delayed is due.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.tables import (
    drift_results,
    feedback,
    heartbeats,
    leases,
    prediction_batches,
    predictions,
    promotions,
    quality_results,
    training_runs,
)
from ratchet.store.timestamps import iso_utc

# Seconds that a time may lie ahead, as after a small correction of a clock.
TOLERANCE = 60.0
# The tables' newest rows, in the order of the store, and the time of each row.
_TIMES: tuple[tuple[str, sa.Table, Any, Any], ...] = (
    ("a change of Production", promotions, promotions.c.id, promotions.c.created_at),
    ("a training run", training_runs, training_runs.c.id, training_runs.c.created_at),
    ("a drift window", drift_results, drift_results.c.id, drift_results.c.created_at),
    ("a quality window", quality_results, quality_results.c.id, quality_results.c.created_at),
    ("feedback", feedback, feedback.c.seq, feedback.c.created_at),
    ("a prediction", predictions, predictions.c.id, predictions.c.created_at),
    ("a batch of predictions", prediction_batches, prediction_batches.c.id, prediction_batches.c.created_at),
    ("a watcher's check", heartbeats, heartbeats.c.looked_at, heartbeats.c.looked_at),
    ("the end of a lease", leases, leases.c.expires_at, leases.c.expires_at - sa.func.coalesce(leases.c.duration, 0.0)),
)
# The rows of a table that are looked at.
_NEWEST = 100


def is_future(at: float, now: float) -> bool:
    """Return whether a time lies ahead of the store's clock, so that it is void."""
    return at > now + TOLERANCE


def newest_valid(times: list[float], now: float) -> float | None:
    """Return the newest time that is not void; None if all are."""
    return max((at for at in times if not is_future(at, now)), default=None)


def store_time(store: Store) -> float:
    """Return the seconds since the epoch by the store's clock.

    Raises
    ------
    StateError: the store cannot be read.
    """
    with store.reading() as connection:
        return store.now(connection)


def clock_difference(store: Store) -> float | None:
    """Return the seconds that this machine's clock is ahead of the store's; None if that is tolerated."""
    before, of_store, after = time.time(), store_time(store), time.time()
    difference = (before + after) / 2 - of_store
    return difference if abs(difference) > TOLERANCE + (after - before) / 2 else None


def rows_from_the_future(store: Store) -> list[str]:
    """Return in words, for each table whose newest rows have one, the row that lies furthest in the future."""
    found = []
    with store.reading() as connection:
        now = store.now(connection)
        for name, _, order, at in _TIMES:
            newest = sa.select(at.label("at")).order_by(order.desc()).limit(_NEWEST).subquery()
            latest = connection.scalar(sa.select(sa.func.max(newest.c.at)))
            if latest is not None and is_future(float(latest), now):
                found.append(f"{name} at {iso_utc(float(latest))}")
    return found
