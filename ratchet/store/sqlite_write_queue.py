"""A line for the writers of one SQLite file.

SQLite lets a writer that finds another one sleep for ever longer times, up to a tenth of a second, in which others
overtake it: of two processes that write all the time, one hardly gets to write at all. Here they take turns. It is a
courtesy and no lock: whoever has stood in line for long goes on, and SQLite's own locks keep the file whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

# The time between two looks, in seconds.
_STEP = 0.00002


class Line:
    """One writer's place; for one thread.

    Parameters
    ----------
    database: the path of the SQLite file.
    """

    def __init__(self, database: str) -> None:
        # Who waits for the turn holds the place behind it, so that nobody who comes back at once is before him.
        self._behind = _open(f"{database}.line")
        self._turn = _open(f"{database}.turn")

    @contextlib.contextmanager
    def turn(self, longest: float) -> Iterator[bool]:
        """Stand in line, and have the turn for the time of a block.

        Parameters
        ----------
        longest: seconds to stand in line.

        Yields
        ------
        Whether it is this writer's turn, or it has stood in line for long enough.
        """
        first = self._stand(longest)
        try:
            yield first
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Give the place up for good."""
        os.close(self._behind)
        os.close(self._turn)

    def _stand(self, longest: float) -> bool:
        try:
            deadline = time.monotonic() + longest
            for place in (self._behind, self._turn):
                while not _taken(place):
                    if time.monotonic() > deadline:
                        return False
                    time.sleep(_STEP)
            return True
        finally:
            fcntl.flock(self._behind, fcntl.LOCK_UN)


def _taken(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: str) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
