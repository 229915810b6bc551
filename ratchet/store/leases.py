"""Leases: the right to do something alone for a while, with a fencing token.

Each grant of a lease has a higher token than the one before. Whoever was paused past its lease finds, before it
writes, that its token is no longer the newest, and stops. (M. Kleppmann, "How to do distributed locking", 2016.)
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.store.database import Store
from ratchet.store.tables import leases

logger = logging.getLogger(__name__)

# Long enough to download and check a package, in seconds.
TTL = 60.0
WAIT = 30.0
_POLL = (0.02, 0.1)


@dataclass(frozen=True)
class Lease:
    """A granted lease.

    Attributes
    ----------
    name: what it is for.
    holder: who has it, unique to one grant.
    token: higher than that of every earlier grant.
    """

    name: str
    holder: str
    token: int


@contextmanager
def held(store: Store, name: str, ttl: float = TTL, wait: float = WAIT) -> Iterator[Lease]:
    """Hold a lease for the time of a block.

    Parameters
    ----------
    store: where leases are.
    name: what the lease is for.
    ttl: seconds until somebody else may take it, should this process die or stop.
    wait: seconds to wait for another holder.

    Raises
    ------
    StateError: somebody else held it all the while.
    """
    lease = acquire(store, name, ttl, wait)
    try:
        yield lease
    finally:
        release(store, lease)


def acquire(store: Store, name: str, ttl: float = TTL, wait: float = WAIT) -> Lease:
    """Take a lease, waiting for its holder to release it or to let it expire.

    Raises
    ------
    StateError: somebody else held it all the while; says who and for how long.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{_machine()}:{uuid.uuid4().hex[:8]}"
    deadline = time.monotonic() + wait
    while True:
        found = _try(store, name, holder, ttl)
        if isinstance(found, Lease):
            return found
        if time.monotonic() >= deadline:
            other, left = found
            raise StateError(f"{name} is held by {other} for another {left:.0f} s at most: wait, or end that process")
        time.sleep(random.uniform(*_POLL))  # noqa: S311 - jitter, not a secret


@contextmanager
def kept(store: Store, name: str, ttl: float, wait: float = 0.0) -> Iterator[Lease]:
    """Hold a lease for the time of a block, however long that takes: a thread renews it.

    Whoever is stopped for longer than ``ttl`` loses it; what must not be done twice has to be safe against that by
    itself, as a promotion is by its operation id.

    Raises
    ------
    StateError: somebody else held it all the while.
    """
    lease = acquire(store, name, ttl, wait)
    done = threading.Event()

    def renew_until_done() -> None:
        while not done.wait(ttl / 4):
            try:
                if not renew(store, lease, ttl):
                    logger.error("the lease on %s was taken over by somebody else", name)
                    return
            except StateError as error:  # the store may be back before the lease runs out
                logger.warning("the lease on %s could not be renewed: %s", name, error)

    thread = threading.Thread(target=renew_until_done, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        done.set()
        thread.join()
        try:
            release(store, lease)
        except StateError as error:  # what the block has to say goes before; the lease runs out
            logger.warning("the lease on %s could not be given back: %s", name, error)


def renew(store: Store, lease: Lease, ttl: float) -> bool:
    """Hold a lease for another while; whether it is still ours."""
    mine = sa.and_(leases.c.name == lease.name, leases.c.token == lease.token, leases.c.holder.is_not(None))
    with store.transaction() as connection:
        expires = store.now(connection) + ttl
        return connection.execute(sa.update(leases).where(mine).values(expires_at=expires)).rowcount == 1


def holder(store: Store, name: str) -> str | None:
    """Who holds a lease just now; None where it is free."""
    with store.reading() as connection:
        row = connection.execute(sa.select(leases).where(leases.c.name == name)).one_or_none()
        if row is None or row.holder is None or row.expires_at <= store.now(connection) or _is_gone(row.holder):
            return None
        return str(row.holder)


def release(store: Store, lease: Lease) -> None:
    """Give a lease back; if somebody else has it by now, it stays theirs."""
    mine = sa.and_(leases.c.name == lease.name, leases.c.token == lease.token)
    with store.transaction() as connection:
        connection.execute(sa.update(leases).where(mine).values(holder=None, expires_at=0.0))


def check(store: Store, lease: Lease) -> None:
    """Make sure that a lease is still ours, before something is written under it.

    Call it inside ``store.exclusive(lease.name)``: nobody can take the lease over until that is left.

    Raises
    ------
    StateError: it was taken over; nothing may be written any more.
    """
    with store.reading() as connection:
        row = connection.execute(sa.select(leases).where(leases.c.name == lease.name)).one_or_none()
    # A lease that ran out and that nobody took is still good: nobody can take it while we are in here.
    if row is None or row.token != lease.token:
        raise StateError(f"the lease on {lease.name} (token {lease.token}) was taken over by somebody else; try again")


def expired(store: Store, name: str) -> str | None:
    """The holder of a lease that was not given back and is not held any more, as after a crash; None if none."""
    with store.reading() as connection:
        row = connection.execute(sa.select(leases).where(leases.c.name == name)).one_or_none()
        if row is None or row.holder is None:
            return None
        if row.expires_at > store.now(connection) and not _is_gone(row.holder):
            return None
        return str(row.holder)


def _try(store: Store, name: str, holder: str, ttl: float) -> Lease | tuple[str, float]:
    """The lease, or who holds it and for how many seconds at most."""
    with store.exclusive(name), store.transaction() as connection:
        now = store.now(connection)
        store.insert_new(connection, leases, name=name, holder=None, token=0, expires_at=0.0)
        row = connection.execute(sa.select(leases).where(leases.c.name == name)).one()
        if row.holder is not None and row.expires_at > now and not _is_gone(row.holder):
            return str(row.holder), row.expires_at - now
        token = int(row.token) + 1
        connection.execute(
            sa.update(leases).where(leases.c.name == name).values(holder=holder, token=token, expires_at=now + ttl)
        )
        return Lease(name, holder, token)


@functools.cache
def _machine() -> str:
    """A name for the machine since it was started, and the container on it; empty where that cannot be known.

    Where two processes have the same, the process ids of one mean the same to the other.
    """
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        processes = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return hashlib.sha256(f"{started}/{processes}".encode()).hexdigest()[:8]


def _is_gone(holder: str) -> bool:
    """Whether a holder was a process of this machine and container that has ended; its lease need not run out."""
    parts = holder.rsplit(":", 3)
    if len(parts) < 4 or not parts[2] or parts[2] != _machine():
        return False
    try:
        os.kill(int(parts[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
