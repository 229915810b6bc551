"""Group commit: the items of concurrent requests in one transaction, and no answer before it is durable.

A thread commits, so that the event loop never waits for a disk. Requests that arrive before a transaction has begun
join it, so that they share its cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeAlias, TypeVar

from ratchet.errors import UnavailableError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class Request(Generic[Item, Result]):
    """The items of one request, and the future with one result for each."""

    items: Sequence[Item]
    results: asyncio.Future[Sequence[Result]]


Queue: TypeAlias = "SimpleQueue[Request[Item, Result] | None]"


class Group(Generic[Item, Result]):
    """The requests of one transaction: the first one, and those that join it until it has ``limit`` items."""

    def __init__(self, first: Request[Item, Result], queue: Queue[Item, Result], limit: int) -> None:
        self.requests = [first]
        self._queue = queue
        self._limit = limit

    @property
    def items(self) -> list[Item]:
        """The items of all requests, in the order of their arrival."""
        return [item for request in self.requests for item in request.items]

    def join(self) -> list[Item]:
        """Add the requests that wait by now, and return the items of all requests."""
        items = self.items
        with contextlib.suppress(Empty):
            while len(items) < self._limit:
                request = self._queue.get_nowait()
                if request is None:
                    self._queue.put(None)  # stop after this group
                    break
                self.requests.append(request)
                items += request.items
        return items


class GroupCommit(Generic[Item, Result]):
    """Makes the items of concurrent requests durable, for one event loop.

    Parameters
    ----------
    name: what the items are, as error messages and the thread name it.
    commit: makes a group durable and returns one result for each item; called by the thread. It calls ``Group.join``
        once its transaction has begun, and raises ``UnavailableError`` if nothing was written.
    on_commit: receives each committed group and its results, on the thread.
    limit: number of items after which no further request joins a transaction.
    timeout: seconds after which a request that is not durable fails.
    capacity: number of items that may wait.
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
    ) -> None:
        self._name = name
        self._commit = commit
        self._on_commit = on_commit
        self._limit = limit
        self._capacity = capacity
        self._timeout = timeout
        self._queue: Queue[Item, Result] = SimpleQueue()
        self._arrived: list[Request[Item, Result]] = []
        self.depth = 0

    def start(self) -> None:
        """Start the thread, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=f"{self._name}-commit", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Commit the waiting requests and end the thread."""
        self._loop.call_soon(self._queue.put, None)  # after the requests of this turn of the event loop
        await asyncio.to_thread(self._thread.join, self._timeout)

    async def submit(self, items: Sequence[Item]) -> Sequence[Result]:
        """Return one result for each item when all items are durable.

        Raises
        ------
        UnavailableError: too many items wait, or these may not be durable; the client may retry.
        """
        if self.depth + len(items) > self._capacity:
            raise UnavailableError(f"the queue of {self._name} is full")
        request: Request[Item, Result] = Request(items, self._loop.create_future())
        if not self._arrived:
            self._loop.call_soon(self._enqueue)
        self._arrived.append(request)
        self.depth += len(items)
        timer = self._loop.call_later(self._timeout, _expire, request)
        try:
            return await request.results
        finally:
            timer.cancel()
            self.depth -= len(items)

    def _enqueue(self) -> None:
        """Queue the requests of this turn of the event loop together, so that they share a transaction."""
        arrived, self._arrived = self._arrived, []
        for request in arrived:
            self._queue.put(request)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group = Group(first, self._queue, self._limit)
            try:
                results = self._commit(group)
            except Exception as error:
                group.join()  # those that wait would fail too, and wait longer for it
                self._loop.call_soon_threadsafe(_fail, group.requests, self._refusal(error))
            else:
                self._loop.call_soon_threadsafe(_resolve, group.requests, results)
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


def _resolve(requests: Sequence[Request[Item, Result]], results: Sequence[Result]) -> None:
    start = 0
    for request in requests:
        end = start + len(request.items)
        if not request.results.done():  # it is done if the client has disconnected
            request.results.set_result(results[start:end])
        start = end


def _fail(requests: Sequence[Request[Item, Result]], error: UnavailableError) -> None:
    for request in requests:
        if not request.results.done():
            request.results.set_exception(error)


def _expire(request: Request[Item, Result]) -> None:
    _fail([request], UnavailableError("the store does not respond"))
