"""A journal on the local disk for rows that the store cannot take just now; they are moved there when it can.

Each process appends to a segment of its own, which it holds locked. A segment that nobody holds, since its process is
done with it or was killed, is replayed by whoever finds it. Replaying is idempotent, so a crash in between is harmless.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import uuid_utils

from ratchet.store.predictions import Prediction

logger = logging.getLogger(__name__)

_SUFFIX = ".journal"
_CHUNK = 1000


class Journal:
    """A folder of segments, each a file of one JSON row a line.

    Parameters
    ----------
    folder: made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._segment: int | None = None

    def append(self, rows: Sequence[Prediction]) -> None:
        """Write rows, and return when they are on the disk.

        Raises
        ------
        OSError: they are not; nothing of them is left behind.
        """
        content = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        with self._lock:
            segment = self._open()
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
        """Let go of this process's segment, so that it can be replayed."""
        with self._lock:
            self._close()

    def replay(self, insert: Callable[[Sequence[Prediction]], None]) -> int:
        """Move what is in segments that nobody holds into the store.

        Parameters
        ----------
        insert: writes rows, and leaves those that are there already.

        Returns
        -------
        The number of rows that were moved.

        Raises
        ------
        StateError: the store cannot take them; they stay in the journal.
        """
        moved = 0
        for path in self.segments():
            with _held(path) as ours:
                if ours:
                    rows, whole = _rows(path)
                    for start in range(0, len(rows), _CHUNK):
                        insert(rows[start : start + _CHUNK])
                    path.unlink() if whole else path.rename(path.with_suffix(".damaged"))
                    moved += len(rows)
        return moved

    def segments(self) -> list[Path]:
        """The segments, oldest first."""
        return sorted(self._folder.glob(f"*{_SUFFIX}")) if self._folder.is_dir() else []

    def _open(self) -> int:
        if self._segment is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path = self._folder / f"{uuid_utils.uuid7()}{_SUFFIX}"
            # Locked before it can be seen, or somebody would take it for a dead process's.
            unseen = self._path.with_suffix(".new")
            segment = os.open(unseen, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
            try:
                fcntl.flock(segment, fcntl.LOCK_EX)
                unseen.rename(self._path)
                _sync_folder(self._folder)
            except OSError:
                os.close(segment)
                raise
            self._segment = segment
        return self._segment

    def _close(self) -> None:
        if self._segment is not None:
            os.close(self._segment)
            self._segment = None


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold a segment, unless another process does or has replayed it meanwhile."""
    try:
        segment = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(segment, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path.exists()
    except BlockingIOError:
        yield False
    finally:
        os.close(segment)


def _rows(path: Path) -> tuple[list[Prediction], bool]:
    """The rows of a segment, and whether all of it could be read.

    Half a row at the end is what a process leaves that is killed while it writes; nobody was told that it is kept.
    """
    lines = path.read_bytes().split(b"\n")
    rows, whole = [], True
    for number, line in enumerate(lines[:-1], start=1):
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            whole = False
            logger.error("%s: line %d cannot be read; the file is kept as .damaged", path, number)
    if lines[-1]:
        logger.warning("%s: ends with half a row, left by a crash; nobody was told that it is kept", path)
    return rows, whole


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
