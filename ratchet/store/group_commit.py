"""Group commit: the items of concurrent requests in one commit, and no answer before they are durable.

A thread commits, so that the event loop does not wait for a disk. Requests that arrive before a commit has begun join
it, so that they share its cost. Commits that are known to be quick are made on the event loop: to hand them to a thread
and back would take longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from queue import Empty, SimpleQueue
from typing import Generic, TypeAlias, TypeVar

from ratchet.errors import UnavailableError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")
# Receives one result for each item, or the error that refuses the request.
OnDone: TypeAlias = "Callable[[Sequence[Result] | UnavailableError], None]"

# Seconds between two searches for requests that have waited too long.
_SWEEP_INTERVAL = 1.0


@dataclass(slots=True, eq=False)
class Request(Generic[Item, Result]):
    """The items of one request, and what receives their results; None once it has received them."""

    items: Sequence[Item]
    on_done: OnDone[Result] | None
    arrived_at: float
    size: int


Queue: TypeAlias = "SimpleQueue[list[Request[Item, Result]] | None]"


class Group(Generic[Item, Result]):
    """The requests of one commit: the first ones, and those that join them until their size is ``limit``."""

    def __init__(self, first: list[Request[Item, Result]], queue: Queue[Item, Result], limit: int) -> None:
        self.requests = first
        self._queue = queue
        self._limit = limit

    @property
    def items(self) -> list[Item]:
        """The items of all requests, in the order of their arrival."""
        return [item for request in self.requests for item in request.items]

    def join(self) -> list[Item]:
        """Add the requests that wait by now, and return the items of all requests."""
        size = _size(self.requests)
        with contextlib.suppress(Empty):
            while size < self._limit:
                requests = self._queue.get_nowait()
                if requests is None:
                    self._queue.put(None)  # stop after this group
                    break
                self.requests += requests
                size += _size(requests)
        return self.items


class GroupCommit(Generic[Item, Result]):
    """Makes the items of concurrent requests durable, for one event loop.

    Parameters
    ----------
    name: what the items are, as error messages and the thread name it.
    commit: makes a group durable and returns one result for each item; called by the thread, or by the event loop if
        it is quick. It calls ``Group.join`` once its transaction has begun, and raises ``UnavailableError`` if nothing
        was written.
    on_commit: receives each committed group and its results, where it was committed.
    limit: size after which no further request joins a commit.
    timeout: seconds after which a request that is not durable fails, to the next second.
    capacity: size of all that may wait.
    size_of: returns the size of the items of a request.
    is_quick: whether a commit takes so little time that the event loop can make it.
    """

    def __init__(
        self,
        name: str,
        commit: Callable[[Group[Item, Result]], Sequence[Result]],
        on_commit: Callable[[Group[Item, Result], Sequence[Result]], None],
        *,
        limit: int,
        timeout: float,
        capacity: int = 40_000,
        size_of: Callable[[Sequence[Item]], int] = len,
        is_quick: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._commit = commit
        self._on_commit = on_commit
        self._limit = limit
        self._capacity = capacity
        self._timeout = timeout
        self._size_of = size_of
        self._is_quick = is_quick
        self._queue: Queue[Item, Result] = SimpleQueue()
        # The requests of this turn of the event loop, and all that wait, in the order of their arrival and results.
        self._arrived: list[Request[Item, Result]] = []
        self._waiting: deque[Request[Item, Result]] = deque()
        self.depth = 0

    def start(self) -> None:
        """Start the thread, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=f"{self._name}-commit", daemon=True)
        self._thread.start()
        self._sweep()

    async def stop(self) -> None:
        """Commit the waiting requests and end the thread."""
        self._loop.call_soon(self._queue.put, None)  # after the requests of this turn of the event loop
        await asyncio.to_thread(self._thread.join, self._timeout)
        self._sweeper.cancel()

    def submit(self, items: Sequence[Item], on_done: OnDone[Result]) -> None:
        """Queue a request; for the event loop's thread.

        Parameters
        ----------
        on_done: called on the event loop once: with one result for each item when all items are durable, or with
            ``UnavailableError`` if they may not be durable and the client may retry.
        """
        size = self._size_of(items)
        if self.depth + size > self._capacity:
            self._loop.call_soon(on_done, UnavailableError(f"the queue of {self._name} is full"))
            return
        request: Request[Item, Result] = Request(items, on_done, time.monotonic(), size)
        if not self._arrived:
            self._loop.call_soon(self._enqueue)
        self._arrived.append(request)
        self._waiting.append(request)
        self.depth += size

    async def write(self, items: Sequence[Item]) -> Sequence[Result]:
        """Return one result for each item when all items are durable.

        Raises
        ------
        UnavailableError: too many items wait, or these may not be durable; the client may retry.
        """
        done: asyncio.Future[Sequence[Result]] = self._loop.create_future()

        def resolve(results: Sequence[Result] | UnavailableError) -> None:
            if done.done():  # the client has disconnected
                return
            if isinstance(results, UnavailableError):
                done.set_exception(results)
            else:
                done.set_result(results)

        self.submit(items, resolve)
        return await done

    def _enqueue(self) -> None:
        """Commit the requests of this turn of the event loop together, or queue them so that they share a commit."""
        arrived, self._arrived = self._arrived, []
        if _size(arrived) <= self._limit:
            thread_is_idle = len(arrived) == len(self._waiting)
            if thread_is_idle and self._is_quick():
                self._commit_here(arrived)
            else:
                self._queue.put(arrived)
            return
        for request in arrived:
            self._queue.put([request])

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group = Group(first, self._queue, self._limit)
            try:
                results = self._commit(group)
            except Exception as error:
                group.join()  # those that wait would fail too, and wait longer for it
                self._loop.call_soon_threadsafe(self._fail, group.requests, self._refusal(error))
            else:
                self._loop.call_soon_threadsafe(self._resolve, group.requests, results)
                self._report(group, results)

    def _commit_here(self, requests: list[Request[Item, Result]]) -> None:
        """Commit on the event loop what the thread would commit."""
        group = Group(requests, self._queue, self._limit)
        try:
            results = self._commit(group)
        except Exception as error:
            self._fail(group.requests, self._refusal(error))
        else:
            self._resolve(group.requests, results)
            self._report(group, results)

    def _refusal(self, error: Exception) -> UnavailableError:
        if isinstance(error, UnavailableError):
            return error
        logger.error("%s cannot be saved; the requests fail", self._name, exc_info=error)
        return UnavailableError(f"{self._name} cannot be saved")

    def _report(self, group: Group[Item, Result], results: Sequence[Result]) -> None:
        try:
            self._on_commit(group, results)
        except Exception as error:  # such as a log that cannot be written; the items are durable
            logger.debug("a commit of %s was not reported: %s", self._name, error)

    def _resolve(self, requests: Sequence[Request[Item, Result]], results: Sequence[Result]) -> None:
        start = 0
        for request in requests:
            end = start + len(request.items)
            self._finish(request, results[start:end])
            start = end

    def _fail(self, requests: Sequence[Request[Item, Result]], error: UnavailableError) -> None:
        for request in requests:
            self._finish(request, error)

    def _finish(self, request: Request[Item, Result], results: Sequence[Result] | UnavailableError) -> None:
        """Pass the results of the oldest waiting request on, unless it was refused as too late."""
        self._waiting.popleft()
        self._call(request, results)

    def _call(self, request: Request[Item, Result], results: Sequence[Result] | UnavailableError) -> None:
        on_done, request.on_done = request.on_done, None
        if on_done is None:
            return
        self.depth -= request.size
        try:
            on_done(results)
        except Exception:  # the other requests of the commit get their results
            logger.exception("a result of %s could not be passed on", self._name)

    def _sweep(self) -> None:
        """Refuse the requests that have waited too long: one timer for all, since one for each costs more."""
        last = time.monotonic() - self._timeout
        for request in list(takewhile(lambda request: request.arrived_at <= last, self._waiting)):
            self._call(request, UnavailableError("the store does not respond"))
        self._sweeper = self._loop.call_later(min(_SWEEP_INTERVAL, self._timeout), self._sweep)


def _size(requests: Sequence[Request[Item, Result]]) -> int:
    return sum(request.size for request in requests)
