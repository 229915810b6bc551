"""A queue for the processes that write to one SQLite file.

SQLite lets a writer that finds the file locked sleep for up to a tenth of a second, during which other writers overtake
it: of two processes that write continuously, one hardly writes. The queue serves writers in order. It is advisory: a
writer continues after its timeout, and SQLite's own locks keep the file consistent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from ratchet.private_files import FILE

# Seconds between two attempts to take a lock.
_POLL = 0.00002


@contextlib.contextmanager
def write_turn(database: str, timeout: float) -> Iterator[bool]:
    """Wait for the writers that came before, and keep later ones waiting while a block runs.

    Yields whether the lock was taken within ``timeout`` seconds.
    """
    with contextlib.ExitStack() as stack:
        try:
            next_lock, turn_lock = (stack.enter_context(_opened(f"{database}.{name}")) for name in ("line", "turn"))
        except OSError:  # without the queue, SQLite itself reports what is wrong with the folder
            yield False
            return
        yield _wait(next_lock, turn_lock, time.monotonic() + timeout)


def _wait(next_lock: int, turn_lock: int, deadline: float) -> bool:
    """Take the lock of the turn, holding the lock of the next place meanwhile.

    Without the second lock, a writer that comes back at once would overtake those that wait.
    """
    try:
        return _locked(next_lock, deadline) and _locked(turn_lock, deadline)
    finally:
        fcntl.flock(next_lock, fcntl.LOCK_UN)


def _locked(lock: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        else:
            return True


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, FILE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # which unlocks it
