"""Leases: the exclusive right to a named task, with an expiry and a fencing token.

Each grant of a lease has a higher token than the one before. A holder that was paused past its lease finds a newer
token before it writes, and stops. (M. Kleppmann, "How to do distributed locking", 2016.)
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
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.store.clock import is_future
from ratchet.store.database import Store
from ratchet.store.tables import leases

logger = logging.getLogger(__name__)

# Seconds; the first is long enough to download and verify a package.
TTL = 60.0
WAIT = 30.0
# Seconds between two attempts to take a lease; random, so that waiting processes do not retry in step.
_POLL = (0.02, 0.1)


@dataclass(frozen=True)
class Lease:
    """A granted lease.

    Attributes
    ----------
    name: the task.
    holder: host, process and grant; unique to one grant.
    token: higher than that of every earlier grant.
    """

    name: str
    holder: str
    token: int


@contextmanager
def held(store: Store, name: str, ttl: float = TTL, wait: float = WAIT, *, renewed: bool = False) -> Iterator[Lease]:
    """Hold a lease while a block runs.

    Parameters
    ----------
    store: the store that all holders share.
    name: the task.
    ttl: seconds after which another process may take the lease if this one dies or hangs.
    wait: seconds to wait for another holder.
    renewed: renew the lease in a thread, for a block that may take longer than ``ttl``. A process that is stopped for
        longer than ``ttl`` still loses the lease.

    Raises
    ------
    StateError: another process held the lease for the whole of ``wait``.
    """
    lease = acquire(store, name, ttl, wait)
    done = threading.Event()
    thread = threading.Thread(target=_renew_until, args=(done, store, lease, ttl), name="lease", daemon=True)
    if renewed:
        thread.start()
    try:
        yield lease
    finally:
        done.set()
        if renewed:
            thread.join()
        try:
            release(store, lease)
        except StateError as error:  # must not replace an error of the block; the lease expires
            logger.warning("the lease on %s was not released: %s", name, error)


def acquire(store: Store, name: str, ttl: float = TTL, wait: float = WAIT) -> Lease:
    """Take a lease, waiting until its holder releases it or it expires.

    Raises
    ------
    StateError: another process, which the message names, held the lease for the whole of ``wait``.
    """
    holder = f"{socket.gethostname()}:{os.getpid()}:{_process_namespace()}:{uuid.uuid4().hex[:8]}"
    deadline = time.monotonic() + wait
    while True:
        found = _grant(store, name, holder, ttl)
        if isinstance(found, Lease):
            return found
        if time.monotonic() >= deadline:
            raise StateError(found)
        time.sleep(random.uniform(*_POLL))  # noqa: S311 - jitter, not a secret


@contextmanager
def fenced(store: Store, lease: Lease) -> Iterator[None]:
    """Keep a lease from being granted to another process while a block writes under it, even past its expiry.

    The operating system or the database frees the lock behind this when the process dies.

    Raises
    ------
    StateError: another process has taken the lease; nothing may be written.
    """
    # PostgreSQL locks the lease's row until the transaction ends. On SQLite that would block all other writers.
    opened: AbstractContextManager[sa.Connection] = store.reading() if store.is_sqlite else store.transaction()
    with _lock_file(store, lease.name), opened as connection:
        token = connection.scalar(sa.select(leases.c.token).where(leases.c.name == lease.name).with_for_update())
        # An expired lease that no process has taken is still valid: none can take it inside this block.
        if token != lease.token:
            who = f"the lease on {lease.name} (token {lease.token})"
            raise StateError(f"{who} was taken over by another process; try again")
        yield


def renew(store: Store, lease: Lease, ttl: float) -> bool:
    """Extend a lease to ``ttl`` seconds from now; return False if it was released or taken by another process."""
    with store.transaction() as connection:
        mine = sa.update(leases).where(_granted_as(lease), leases.c.holder.is_not(None))
        values = {"expires_at": store.now(connection) + ttl, "duration": ttl}
        return connection.execute(mine.values(**values)).rowcount == 1


def release(store: Store, lease: Lease) -> None:
    """Release a lease, unless another process has taken it."""
    with store.transaction() as connection:
        connection.execute(sa.update(leases).where(_granted_as(lease)).values(holder=None, expires_at=0.0))


def holder(store: Store, name: str) -> str | None:
    """Return the holder of a lease; None if it is free or has expired."""
    with store.reading() as connection:
        row = connection.execute(_named(name)).one_or_none()
        return None if row is None or _is_free(row, store.now(connection)) else str(row.holder)


def expired(store: Store, name: str) -> str | None:
    """Return the holder of a lease that expired without being released, as after a crash; None if there is none."""
    with store.reading() as connection:
        row = connection.execute(_named(name)).one_or_none()
        if row is None or row.holder is None or not _is_free(row, store.now(connection)):
            return None
        return str(row.holder)


def _grant(store: Store, name: str, holder: str, ttl: float) -> Lease | str:
    """Grant a lease if it is free; else return who holds it, as a message."""
    with _lock_file(store, name), store.transaction() as connection:
        store.insert_new(connection, leases, name=name, holder=None, token=0, expires_at=0.0)
        row = connection.execute(_named(name).with_for_update()).one()
        now = store.now(connection)
        if not _is_free(row, now):
            left = min(row.expires_at - now, _duration(row))
            if _is_here(row.holder):
                action = "wait, or end that process"
            else:
                action = "wait until that process, on another machine or in another container, has ended its task"
            return f"{name} is held by {row.holder} for another {left:.0f} s at most unless it renews: {action}"
        token = int(row.token) + 1
        values = {"holder": holder, "token": token, "expires_at": now + ttl, "duration": ttl}
        connection.execute(sa.update(leases).where(leases.c.name == name).values(**values))
        return Lease(name, holder, token)


@contextmanager
def _lock_file(store: Store, name: str) -> Iterator[None]:
    """Lock the file of a lease next to an SQLite store."""
    if not store.is_sqlite:
        yield
        return
    from filelock import FileLock, Timeout

    lock = FileLock(f"{store.engine.url.database}.{zlib.crc32(name.encode()):08x}.lock")
    try:
        lock.acquire(timeout=WAIT)
    except Timeout:
        raise StateError(f"{name} is locked by another process for over {WAIT:g} s: wait, or end it") from None
    except PermissionError as error:
        raise StateError(f"the lock {error.filename}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _renew_until(done: threading.Event, store: Store, lease: Lease, ttl: float) -> None:
    while not done.wait(ttl / 4):
        try:
            if not renew(store, lease, ttl):
                logger.error("the lease on %s was taken over by another process", lease.name)
                return
        except StateError as error:  # the store may be back before the lease expires
            logger.warning("the lease on %s was not renewed: %s", lease.name, error)


def _named(name: str) -> sa.Select[Any]:
    return sa.select(leases).where(leases.c.name == name)


def _granted_as(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(leases.c.name == lease.name, leases.c.token == lease.token)


def _is_free(row: sa.Row[Any], now: float) -> bool:
    # An end further ahead than the lease lasts was set by a clock that was wrong.
    is_void = is_future(row.expires_at, now + _duration(row))
    return row.holder is None or row.expires_at <= now or is_void or _has_ended(row.holder)


def _duration(row: sa.Row[Any]) -> float:
    return TTL if row.duration is None else float(row.duration)


def _is_here(holder: str) -> bool:
    """Whether a holder is or was a process of this machine and container."""
    parts = holder.rsplit(":", 3)
    return len(parts) == 4 and bool(parts[2]) and parts[2] == _process_namespace()


def _has_ended(holder: str) -> bool:
    """Whether a holder was a process of this machine and container that has ended, so that its lease is free."""
    if not _is_here(holder):
        return False
    try:
        os.kill(int(holder.rsplit(":", 3)[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@functools.cache
def _process_namespace() -> str:
    """Return a name for this boot of the machine and this container; empty if the system has none.

    Only processes with the same name can compare process ids.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return hashlib.sha256(f"{boot}/{namespace}".encode()).hexdigest()[:8]
