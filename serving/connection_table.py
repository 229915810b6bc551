"""The open connections of a worker: their number, their deadlines, and which one gives way when there are too many."""

from __future__ import annotations

import asyncio
import heapq
import math
import resource
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from ratchet.settings import Settings

# Seconds between two checks of the deadlines.
_SWEEP_INTERVAL = 1.0
# Connections beyond the limit that are accepted to answer 503, or a probe.
_RESERVE = 32
# Files that a worker opens besides its connections, and more than enough.
_OTHER_FILES = 512


@dataclass(frozen=True)
class Limits:
    """Limits of one worker; times in seconds."""

    header_bytes: int
    headers: int
    header_time: float
    body_time: float
    idle_time: float
    connections: int

    @classmethod
    def of_worker(cls, settings: Settings) -> Limits:
        """Return the limits of one of the workers, each of which has the same share of the connections."""
        return cls(
            header_bytes=settings.max_header_bytes,
            headers=settings.max_headers,
            header_time=settings.header_timeout,
            body_time=settings.request_timeout,
            idle_time=settings.idle_timeout,
            connections=math.ceil(settings.max_connections / settings.workers),
        )


def allow_connections(number: int) -> None:
    """Raise the limit of open files, as far as it may be, to one that allows a number of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + _RESERVE + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


class Connection(Protocol):
    """What the table knows of a connection.

    Attributes
    ----------
    deadline: when the connection expires, by the clock of the event loop.
    waiting_since: since when the service waits for the client; None while it works on a request.
    """

    deadline: float
    waiting_since: float | None

    def expire(self) -> None:
        """End what is late."""

    def give_way(self) -> None:
        """Close, to make room for a new connection."""

    def drain(self) -> None:
        """Close after the answer under way."""


class ConnectionTable:
    """The connections of one worker, in the order in which they were accepted."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.draining = False
        self._connections: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def start(self) -> None:
        """Check the deadlines from now on, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._sweep()

    def add(self, connection: Connection) -> bool:
        """Add a new connection.

        If there are too many, the one that has waited for its client for the longest time is closed. Returns False if
        there is none, since all others have a request in progress: then the new one gets no more than an error.
        """
        fits = len(self._connections) < self.limits.connections or self._make_room()
        self._connections[connection] = None
        return fits

    @property
    def is_overfull(self) -> bool:
        """Whether even the reserve for errors and probes is in use."""
        return len(self._connections) > self.limits.connections + _RESERVE

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self._connections.pop(connection, None)

    def drain(self) -> None:
        """Close every connection after its next answer."""
        self.draining = True
        for connection in list(self._connections):
            connection.drain()

    def _make_room(self) -> bool:
        """Close those that have waited for the longest time, a few at once, since the search visits all."""
        waiting = [each for each in self._connections if each.waiting_since is not None]
        longest = heapq.nsmallest(1 + self.limits.connections // 100, waiting, key=attrgetter("waiting_since"))
        for connection in longest:
            self.remove(connection)
            connection.give_way()
        return bool(longest)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.expire()
        self._loop.call_later(_SWEEP_INTERVAL, self._sweep)
