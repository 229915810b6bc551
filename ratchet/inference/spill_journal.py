"""A journal on the local disk for rows that the store cannot take; they are moved to the store when it is back.

Each process appends to its own segment, which it holds locked. A segment that no process holds, because its process has
finished it or was killed, is replayed by the next process that finds it. Replaying a segment twice changes nothing.
Lines that cannot be read, and rows that the store refuses, are set aside in a ``.bad`` file, so that they do not keep
the other rows from the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import uuid_utils

from ratchet.errors import RejectedRowError
from ratchet.inference.journal_rows import from_line, to_line
from ratchet.inference.locked_files import create_locked, lock_abandoned
from ratchet.private_files import create_folder
from ratchet.store.predictions import Prediction

logger = logging.getLogger(__name__)

_SUFFIX = ".journal"
_BAD = ".bad"
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
        content = b"".join(map(to_line, rows))
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
            try:
                with lock_abandoned(path) as locked:
                    if locked:
                        moved += _move(path, insert)
            except OSError as error:  # the other segments do not wait for this one
                logger.error("%s cannot be replayed and is kept: %s", path, error)
        return moved

    def segments(self) -> list[Path]:
        """Return the segments, oldest first."""
        return sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []

    def bad_rows(self) -> int:
        """Return the number of lines that were set aside."""
        return sum(path.read_bytes().count(b"\n") for path in self._folder.glob(f"*{_BAD}"))

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


def _move(path: Path, insert: Callable[[Sequence[Prediction]], None]) -> int:
    """Insert the rows of a segment, set the others aside, and remove the segment; return the number inserted.

    A process that is killed while it writes leaves half a row at the end, which it has not acknowledged.
    """
    *lines, rest = path.read_bytes().split(b"\n")
    rows: list[tuple[bytes, Prediction]] = []
    bad: list[bytes] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append((line, from_line(line)))
        except ValueError as error:
            bad.append(line)
            logger.error("%s: line %d cannot be read (%s) and is set aside", path, number, error)
    for start in range(0, len(rows), _CHUNK):
        bad += _insert(rows[start : start + _CHUNK], insert, path)
    if rest:
        logger.warning("%s: ends with half a row, left by a crash; it was never acknowledged", path)
    if bad:
        _set_aside(path.with_suffix(_BAD), bad)
    path.unlink()
    return len(lines) - len(bad)


def _insert(
    rows: list[tuple[bytes, Prediction]], insert: Callable[[Sequence[Prediction]], None], path: Path
) -> list[bytes]:
    """Insert rows, and return the lines of those that the store refuses, which a bisection finds."""
    try:
        insert([row for _, row in rows])
        return []
    except RejectedRowError as error:
        reason = str(error)
    if len(rows) == 1:
        line, row = rows[0]
        logger.error("%s: prediction %s is set aside: %s", path, row["id"], reason)
        return [line]
    half = len(rows) // 2
    return _insert(rows[:half], insert, path) + _insert(rows[half:], insert, path)


def _set_aside(path: Path, lines: Sequence[bytes]) -> None:
    """Write lines durably to a file, in place of those of an interrupted replay of the same segment."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        _write_all(descriptor, b"".join(line + b"\n" for line in lines))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folder(path.parent)


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
