"""The journal of predictions on the local disk, from which ``ratchet.inference.journal_mover`` moves them to the store.

Each process appends to its own segment, which it holds locked. A segment is a file of frames, allocated in advance so
that a sync of the disk writes the content and no change of the file's size; zeros follow the last frame.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import uuid_utils

from ratchet.inference.journal_frames import to_frame
from ratchet.inference.locked_files import create_locked
from ratchet.private_files import create_folder
from ratchet.store.predictions import Entry

SEGMENT = ".segment"
# Segments of earlier releases, and files of set-aside entries that an operator has renamed: one row in each line.
LINES = ".journal"
BAD = ".bad"

_SEGMENT_BYTES = 8 * 2**20
# Seconds after which a segment is closed, so that it is removed soon after its rows have been moved.
_LONGEST_SEGMENT = 10.0
# Seconds without a complete move after which the mover is behind.
_BEHIND_AFTER = 3.0


class Journal:
    """A folder of segments; the first entry creates it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Locked by the process that moves rows. Its time of modification is when the last complete move began.
        self.mover_lock = folder.with_suffix(".lock")
        # A named pipe: a byte makes the mover begin at once.
        self.mover_pipe = folder.with_suffix(".pipe")
        self._lock = threading.Lock()
        self._segment: _Segment | None = None

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries, and return when they are on the disk.

        Raises
        ------
        OSError: they are not; no part of them is left.
        """
        content = b"".join(map(to_frame, entries))
        with self._lock:
            if self._segment is None or not self._segment.has_room(len(content)):
                self._close()
                self._segment = _Segment(self.folder, len(content))
            try:
                self._segment.append(content)
            except OSError:
                self._segment = None
                raise

    def release(self, *, older_than: float = 0.0) -> None:
        """Close this process's segment, so that it is removed when its rows have been moved.

        Parameters
        ----------
        older_than: seconds; a segment that is younger stays open.
        """
        with self._lock:
            if self._segment and self._segment.age >= older_than:
                self._close()

    def release_old(self) -> None:
        """Close this process's segment if it has been open for long."""
        self.release(older_than=_LONGEST_SEGMENT)

    def segments(self) -> list[Path]:
        """Return the segments, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.suffix in (SEGMENT, LINES))

    def bad_rows(self) -> int:
        """Return the number of entries that were set aside."""
        return sum(path.read_bytes().count(b"\n") for path in self.folder.glob(f"*{BAD}"))

    def moved_until(self) -> float:
        """Return an instant by this machine's clock, before which all rows are in the store.

        It is to be called before the store is read.
        """
        try:
            moved_until = self.mover_lock.stat().st_mtime
        except OSError:
            moved_until = 0.0
        return moved_until if self.segments() else math.inf

    @property
    def is_behind(self) -> bool:
        """Whether rows have not been moved for some seconds."""
        return self.moved_until() < time.time() - _BEHIND_AFTER

    def wake_mover(self) -> None:
        """Make the mover begin at once, if it runs."""
        with contextlib.suppress(OSError):
            pipe = os.open(self.mover_pipe, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, b"x")
            finally:
                os.close(pipe)

    def _close(self) -> None:
        segment, self._segment = self._segment, None
        if segment:
            segment.close()


class _Segment:
    """The segment that this process appends to, with room for a first content."""

    def __init__(self, folder: Path, first: int) -> None:
        create_folder(folder)
        self._path = folder / f"{uuid_utils.uuid7()}{SEGMENT}"
        self._size = max(_SEGMENT_BYTES, first)
        self._end = 0
        self._opened_at = time.monotonic()
        self._descriptor = create_locked(self._path)
        try:
            os.posix_fallocate(self._descriptor, 0, self._size)
            os.fsync(self._descriptor)
            sync_folder(folder)
        except OSError:
            self._discard()
            raise

    @property
    def age(self) -> float:
        """Seconds since it was created."""
        return time.monotonic() - self._opened_at

    def has_room(self, size: int) -> bool:
        """Return whether that number of bytes fits in."""
        return self._end + size <= self._size

    def append(self, content: bytes) -> None:
        """Write content, and return when it is on the disk.

        Raises
        ------
        OSError: it is not; no part of it is left, and the segment is closed.
        """
        try:
            _write_at(self._descriptor, content, self._end)
            os.fdatasync(self._descriptor)
        except OSError:
            self._discard()
            raise
        self._end += len(content)

    def close(self) -> None:
        """Close the file, which unlocks it."""
        os.close(self._descriptor)

    def _discard(self) -> None:
        """Remove what is not known to be on the disk: half a frame would not be removed by a later one."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._end)
        if self._end == 0:
            self._path.unlink(missing_ok=True)
        self.close()


def sync_folder(folder: Path) -> None:
    """Make the names of a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, content: bytes, position: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, position)
        position, view = position + written, view[written:]
