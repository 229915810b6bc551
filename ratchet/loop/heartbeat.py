"""When a watcher last looked at a model, so that one that is gone can be told from one that has nothing to do."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.tables import heartbeats


class Heartbeat(NamedTuple):
    """A watcher's newest look.

    Attributes
    ----------
    at: when, in seconds since the epoch, by the store's clock; of a watcher that has not looked yet, when it began.
    interval: seconds from one look to the next; 0 for a watcher that looks once, which promises no other.
    """

    at: float
    interval: float


def beat(store: Store, model: str, interval: float, *, looked: bool = True) -> None:
    """Write down that a watcher has looked at a model now, in place of the look before.

    A look that promises no other leaves a promise that stands alone: it would hide that a watcher is gone. So does a
    watcher that begins and has not looked yet: one that begins again and again would hide that it never gets there.

    Parameters
    ----------
    interval: seconds to the next look; 0 where there is none.
    looked: whether it has looked; if not, it only promises to.

    Raises
    ------
    StateError: the store cannot be written.
    """
    with store.transaction() as connection:
        values = {"looked_at": store.now(connection), "interval": interval}
        if not store.insert_new(connection, heartbeats, model=model, **values):
            standing = sa.update(heartbeats).where(heartbeats.c.model == model)
            if interval == 0 or not looked:
                standing = standing.where(heartbeats.c.interval == 0)
            connection.execute(standing.values(**values))


def last_beat(store: Store, model: str) -> Heartbeat | None:
    """The newest look at a model; None where nobody has ever looked.

    Raises
    ------
    StateError: the store cannot be read.
    """
    newest = sa.select(heartbeats.c.looked_at, heartbeats.c.interval).where(heartbeats.c.model == model)
    with store.reading() as connection:
        row = connection.execute(newest).one_or_none()
    return None if row is None else Heartbeat(*row)
