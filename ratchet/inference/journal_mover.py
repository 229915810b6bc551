"""The move of a journal's rows into the store: also from segments that running processes append to.

One process of a home moves at a time. It remembers how far it is in each segment; one that takes over begins at the
start of each, since inserting a row twice changes nothing. A segment is removed when its process has closed it, or was
killed, and all its rows are in the store. Entries that cannot be read, and those that the store refuses, are set aside
in a ``.bad`` file, so that they do not keep the other rows from the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from ratchet.errors import RejectedRowError, StateError
from ratchet.inference.journal import BAD, LINES, Journal, sync_folder
from ratchet.inference.journal_frames import Frame, next_frame, read_frames
from ratchet.inference.journal_rows import damaged_line, from_line, to_line
from ratchet.inference.locked_files import lock_abandoned
from ratchet.private_files import FILE
from ratchet.store.database import Store
from ratchet.store.predictions import Entry, PredictionWriter

logger = logging.getLogger(__name__)

Insert: TypeAlias = Callable[[Sequence[Entry]], None]

# Number of entries in one transaction, and of bytes after which it takes no further entry.
_CHUNK = 1000
_CHUNK_BYTES = 4 * 2**20
# Seconds between two moves, and between two checkpoints of the store.
_INTERVAL = 0.2
_CHECKPOINT_INTERVAL = 1.0


class JournalMover:
    """Moves the rows of all segments of a journal.

    Parameters
    ----------
    insert: writes entries durably, except those that are in the store already.
    """

    def __init__(self, journal: Journal, insert: Insert) -> None:
        self._journal = journal
        self._insert = insert
        # How far each segment is moved, in bytes, and the lines that were set aside from it.
        self._positions: dict[Path, int] = {}
        self._bad: dict[Path, list[bytes]] = {}
        # Segments that cannot be read, which are logged once.
        self._unreadable: set[Path] = set()

    def move(self) -> int:
        """Move what the segments hold by now, and return the number of entries that went into the store.

        Raises
        ------
        StateError: the store cannot take them; they stay in the journal.
        """
        moved, began, complete = 0, time.time(), True
        segments = self._journal.segments()
        for path in segments:
            try:
                moved += self._move_segment(path)
            except OSError as error:  # the other segments do not wait for this one
                if path not in self._unreadable:
                    logger.error("%s cannot be moved into the store and is kept: %s", path, error)
                self._unreadable.add(path)
                complete = False
        for gone in self._positions.keys() - set(segments):
            del self._positions[gone]
        if complete:
            with contextlib.suppress(OSError):  # nobody has locked it: a single move, such as in a test
                os.utime(self._journal.mover_lock, (began, began))
        return moved

    def _move_segment(self, path: Path) -> int:
        with lock_abandoned(path) as finished:
            if path.suffix == LINES:
                moved = self._move_lines(path) if finished else 0
            else:
                moved = self._move_frames(path, finished=finished)
            if finished:
                path.unlink()
                self._positions.pop(path, None)
                self._bad.pop(path, None)
        return moved

    def _move_frames(self, path: Path, *, finished: bool) -> int:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        moved = 0
        try:
            while True:
                frames = read_frames(descriptor, self._positions.get(path, 0))
                for chunk in _chunks(frames):
                    moved += self._move_entries(path, chunk)
                    self._positions[path] = chunk[-1].end
                if not finished or not self._skip_damage(path, descriptor):
                    return moved
        finally:
            os.close(descriptor)

    def _move_entries(self, path: Path, frames: Sequence[Frame]) -> int:
        entries: list[Entry] = []
        for frame in frames:
            try:
                entries.append(frame.entry())
            except ValueError as error:
                logger.error("%s: the entry that ends at byte %d cannot be read: %s", path, frame.end, error)
                self._set_aside(path, [damaged_line(frame.payload)])
        return self._insert_or_set_aside(path, entries)

    def _skip_damage(self, path: Path, descriptor: int) -> bool:
        """Continue at the next whole frame of a finished segment; return whether there is one.

        A process that is killed while it writes leaves half a frame at the end, which it has not acknowledged.
        """
        position = self._positions.get(path, 0)
        # A frame whose sync failed after it was moved has been cut off, so that the segment may be shorter.
        rest = os.pread(descriptor, max(0, os.fstat(descriptor).st_size - position), position).rstrip(b"\0")
        found = next_frame(rest)
        if found is None:
            if rest:
                logger.warning("%s: ends with half an entry, left by a crash; it was never acknowledged", path)
            return False
        logger.error("%s: %d bytes at byte %d are damaged and are set aside", path, found, position)
        self._set_aside(path, [damaged_line(rest[:found])])
        self._positions[path] = position + found
        return True

    def _move_lines(self, path: Path) -> int:
        """Move a segment of an earlier release; returns the number of entries that went into the store."""
        *lines, rest = path.read_bytes().split(b"\n")
        if rest:
            logger.warning("%s: ends with half a row, left by a crash; it was never acknowledged", path)
        entries = list(self._read_lines(path, lines))
        chunks = (entries[start : start + _CHUNK] for start in range(0, len(entries), _CHUNK))
        return sum(self._insert_or_set_aside(path, chunk) for chunk in chunks)

    def _read_lines(self, path: Path, lines: Iterable[bytes]) -> Iterator[Entry]:
        for number, line in enumerate(lines, start=1):
            try:
                yield from_line(line)
            except ValueError as error:
                logger.error("%s: line %d cannot be read (%s) and is set aside", path, number, error)
                self._set_aside(path, [line + b"\n"])

    def _insert_or_set_aside(self, path: Path, entries: Sequence[Entry]) -> int:
        """Insert entries except those that the store refuses, which a bisection finds; return the number inserted."""
        if not entries:
            return 0
        try:
            self._insert(entries)
            return len(entries)
        except RejectedRowError as error:
            reason = str(error)
        if len(entries) == 1:
            logger.error("%s: an entry is set aside: %s", path, reason)
            self._set_aside(path, [to_line(entries[0])])
            return 0
        half = len(entries) // 2
        return self._insert_or_set_aside(path, entries[:half]) + self._insert_or_set_aside(path, entries[half:])

    def _set_aside(self, path: Path, lines: Sequence[bytes]) -> None:
        """Write lines durably to a file, in place of those of an interrupted move of the same segment."""
        kept = self._bad.setdefault(path, [])
        kept += lines
        descriptor = os.open(path.with_suffix(BAD), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(kept))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)


def move_once(journal: Journal, insert: Insert) -> bool:
    """Move what the segments hold by now; if another process of this home moves, wake it and return False.

    Raises
    ------
    StateError: the store cannot take the entries; they stay in the journal.
    """
    lock = _open_lock(journal.mover_lock)
    try:
        if _try_lock(lock):
            JournalMover(journal, insert).move()
            return True
    finally:
        os.close(lock)
    journal.wake_mover()
    return False


class MoverLoop:
    """Moves the rows of a journal every fraction of a second, and checkpoints the store, until it is stopped.

    Parameters
    ----------
    open_store: opens the store; called again until it succeeds.
    """

    def __init__(self, journal: Journal, open_store: Callable[[], Store]) -> None:
        self._journal = journal
        self._open_store = open_store
        self._mover = JournalMover(journal, self._insert)
        self._store: Store | None = None
        self._writer: PredictionWriter | None = None
        self._stopped = threading.Event()
        self._down = False
        self._checkpointed_at = 0.0

    def stop(self) -> None:
        """Make ``run`` return after a last move."""
        self._stopped.set()
        self._journal.wake_mover()

    def run(self, *, last_move: Callable[[], bool] = lambda: True) -> None:
        """Move rows while no other process of this home does, until ``stop``.

        Parameters
        ----------
        last_move: whether the move that has ended was the last one; called after ``stop``.
        """
        lock = _open_lock(self._journal.mover_lock)
        try:
            if self._wait_for_lock(lock):
                pipe = _open_pipe(self._journal.mover_pipe)
                try:
                    self._move_until_stopped(pipe, last_move)
                finally:
                    os.close(pipe)
                    # A program that copies the home would wait for ever to read it.
                    self._journal.mover_pipe.unlink(missing_ok=True)
        finally:
            self._close()
            os.close(lock)

    def _wait_for_lock(self, lock: int) -> bool:
        """Wait until no other process moves; return False if this one has to stop before."""
        while not _try_lock(lock):
            if self._stopped.is_set():
                time.sleep(_INTERVAL)  # the other process may be stopping too, and not see the last rows of this one
                return _try_lock(lock)
            self._stopped.wait(_INTERVAL)
        return True

    def _move_until_stopped(self, pipe: int, last_move: Callable[[], bool]) -> None:
        while True:
            stopped = self._stopped.is_set()
            in_store = self._move()
            if stopped and (not in_store or last_move()):
                return
            select.select([pipe], [], [], _INTERVAL)  # a byte comes when feedback waits for a prediction
            with contextlib.suppress(BlockingIOError):
                os.read(pipe, 2**16)

    def _move(self) -> bool:
        """Move what the journal holds by now; return whether the store could take it."""
        try:
            moved = self._mover.move()
            self._checkpoint()
        except StateError as error:
            if not self._down:
                logger.error("predictions cannot be moved from the journal into the store: %s", error)
            self._down = True
            return False
        except Exception:
            logger.exception("the journal of predictions could not be moved; it is kept")
            return False
        if self._down:
            logger.warning("the store is up again; %d predictions went from the journal into the store", moved)
            self._down = False
        return True

    def _checkpoint(self) -> None:
        if time.monotonic() - self._checkpointed_at >= _CHECKPOINT_INTERVAL:
            self._opened().checkpoint()
            self._checkpointed_at = time.monotonic()

    def _insert(self, entries: Sequence[Entry]) -> None:
        if self._writer is None:
            self._writer = PredictionWriter(self._opened())
        with self._writer.transaction():
            self._writer.insert(entries)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _close(self) -> None:
        if self._writer:
            self._writer.close()
        if self._store:
            self._store.engine.dispose()


def _chunks(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    chunk: list[Frame] = []
    size = 0
    for frame in frames:
        chunk.append(frame)
        size += len(frame.payload)
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _open_lock(path: Path) -> int:
    """Open the lock of the mover; a new one has the time 0, since nothing is moved yet."""
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent) as new:
            os.utime(new.name, (0, 0))
            with contextlib.suppress(FileExistsError):
                os.link(new.name, path)
    return os.open(path, os.O_RDWR)


def _open_pipe(path: Path) -> int:
    """Create a named pipe and open it; also for writing, so that it stays open while no other process writes."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, FILE)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:  # a file system without named pipes: the mover is only not woken
        return os.pipe()[0]


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
