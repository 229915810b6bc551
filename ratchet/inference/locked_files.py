"""Files that a process holds locked while it lives; the kernel frees the lock when the process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def create_locked(path: Path) -> int:
    """Create a file that is locked before another process can see it, and return its descriptor.

    Raises
    ------
    OSError: it cannot be created.
    """
    partial = path.with_suffix(".new")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        partial.rename(path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def lock_abandoned(path: Path) -> Iterator[bool]:
    """Lock the file of a dead process while a block runs; yield False if it is held, or has been removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path.exists()
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
