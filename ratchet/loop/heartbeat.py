"""The heartbeat of a watcher: the time of its last check, so that a dead watcher differs from an idle one."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.tables import heartbeats


class Heartbeat(NamedTuple):
    """A watcher's last check.

    Attributes
    ----------
    at: its time, in seconds since the epoch, by the store's clock; before the first check, the watcher's start.
    interval: seconds between checks; 0 for a watcher that checks once.
    """

    at: float
    interval: float


def beat(store: Store, model: str, interval: float, *, checked: bool = True) -> None:
    """Store the heartbeat of a model's watcher, in place of the last one.

    A single check does not replace the heartbeat of a continuous watcher: it would hide that the watcher died. Nor
    does a watcher's start: a watcher that restarts in a loop would hide that it never checks.

    Parameters
    ----------
    interval: seconds to the next check; 0 if there is none.
    checked: whether the watcher has checked; if not, it has only started.

    Raises
    ------
    StateError: the store cannot be written.
    """
    with store.transaction() as connection:
        values = {"looked_at": store.now(connection), "interval": interval}
        if not store.insert_new(connection, heartbeats, model=model, **values):
            replaced = sa.update(heartbeats).where(heartbeats.c.model == model)
            if interval == 0 or not checked:
                replaced = replaced.where(heartbeats.c.interval == 0)
            connection.execute(replaced.values(**values))


def last_beat(store: Store, model: str) -> Heartbeat | None:
    """Return the heartbeat of a model's watcher, or None if no watcher ever ran."""
    newest = sa.select(heartbeats.c.looked_at, heartbeats.c.interval).where(heartbeats.c.model == model)
    with store.reading() as connection:
        row = connection.execute(newest).one_or_none()
    return None if row is None else Heartbeat(*row)
