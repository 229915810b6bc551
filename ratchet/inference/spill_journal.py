"""A journal on the local disk for rows that the store cannot take; they are moved to the store when it is back.

Each process appends to its own segment, which it holds locked. A segment that no process holds, because its process has
finished it or was killed, is replayed by the next process that finds it. Replaying a segment twice changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import uuid_utils

from ratchet.inference.locked_files import create_locked, lock_abandoned
from ratchet.private_files import create_folder
from ratchet.store.predictions import Prediction

logger = logging.getLogger(__name__)

_SUFFIX = ".journal"
_CHUNK = 1000


class Journal:
    """A folder of segments, each a file with one row as JSON in each line; the first row creates the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._segment: int | None = None

    def append(self, rows: Sequence[Prediction]) -> None:
        """Write rows, and return when they are on the disk.

        Raises
        ------
        OSError: they are not; no part of them is left.
        """
        content = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        with self._lock:
            segment = self._opened()
            end = os.lseek(segment, 0, os.SEEK_END)
            try:
                _write_all(segment, content)
                os.fdatasync(segment)
            except OSError:
                # Half a row would make the next one unreadable.
                with contextlib.suppress(OSError):
                    os.ftruncate(segment, end)
                if end == 0:
                    self._path.unlink(missing_ok=True)
                self._close()
                raise

    def release(self) -> None:
        """Close this process's segment, so that it can be replayed."""
        with self._lock:
            self._close()

    def replay(self, insert: Callable[[Sequence[Prediction]], None]) -> int:
        """Move the rows of all segments that no process holds into the store, and return their number.

        Parameters
        ----------
        insert: writes rows, except those that are in the store already.

        Raises
        ------
        StateError: the store cannot take them; they stay in the journal.
        """
        moved = 0
        for path in self.segments():
            with lock_abandoned(path) as locked:
                if locked:
                    rows, intact = _read(path)
                    for start in range(0, len(rows), _CHUNK):
                        insert(rows[start : start + _CHUNK])
                    path.unlink() if intact else path.rename(path.with_suffix(".damaged"))
                    moved += len(rows)
        return moved

    def segments(self) -> list[Path]:
        """Return the segments, oldest first."""
        return sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []

    def _opened(self) -> int:
        if self._segment is None:
            create_folder(self._folder)
            self._path = self._folder / f"{uuid_utils.uuid7()}{_SUFFIX}"
            self._segment = create_locked(self._path)
            _sync_folder(self._folder)
        return self._segment

    def _close(self) -> None:
        if self._segment is not None:
            os.close(self._segment)
            self._segment = None


def _read(path: Path) -> tuple[list[Prediction], bool]:
    """Return the rows of a segment, and whether all of them could be read.

    A process that is killed while it writes leaves half a row at the end, which it has not acknowledged.
    """
    lines = path.read_bytes().split(b"\n")
    rows, intact = [], True
    for number, line in enumerate(lines[:-1], start=1):
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            intact = False
            logger.error("%s: line %d cannot be read; the file is kept as .damaged", path, number)
    if lines[-1]:
        logger.warning("%s: ends with half a row, left by a crash; it was never acknowledged", path)
    return rows, intact


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
