"""Endpoints that take a JSON body: limits, error replies and request metrics."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive

from serving.authentication import Peer, RawHeaders
from serving.media_types import BATCH, is_arrow, wants_arrow
from serving.request_body import JSON, check_headers, read_body
from serving.responses import JsonResponse, reply_to_error
from serving.worker import Worker

# Given the body and its time of arrival, from ``time.perf_counter()``.
Handler = Callable[[bytes, float], Awaitable[JsonResponse]]
# The same for a handler that calls with its response, or with an error, later or at once.
Done = Callable[[JsonResponse | Exception], None]
Begin = Callable[[bytes, float, Done], None]

# Also given whether the body is an Arrow stream, and whether the response has to be one.
BatchHandler = Callable[[bytes, float, bool, bool], Awaitable[JsonResponse]]

CLIENT_CLOSED_REQUEST = 499


class JsonEndpoint:
    """The endpoint of one path; an error that its handler raises becomes a response too.

    Parameters
    ----------
    worker: whose model answers.
    path: the label in the metrics.
    handler: makes the response.
    begin: the same without a task, for requests that do not come through ASGI.
    """

    media_types: ClassVar[Sequence[bytes]] = (JSON,)

    def __init__(self, worker: Worker, path: str, handler: Handler, begin: Begin | None = None) -> None:
        self.max_bytes = worker.settings.max_body_bytes
        self._path = path
        self._handler = handler
        self._begin = begin or in_task(handler)
        self._keys = worker.keys
        self._metrics = worker.metrics
        self._timeout = worker.settings.request_timeout

    async def respond(self, headers: RawHeaders, receive: Receive) -> Response:
        """Return the response to a request that is authenticated, and count it."""
        started = time.perf_counter()
        self._metrics.in_flight += 1
        result: JsonResponse | Exception
        try:
            body = await read_body(headers, receive, self.max_bytes, self._timeout, self.media_types)
            result = await self._handle(headers, body, started)
        except ClientDisconnect:
            self._metrics.count_error("client_left")
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:
            result = error
        finally:
            self._metrics.in_flight -= 1
        return self.finish(result, started)

    def check(self, headers: RawHeaders, peer: Peer) -> None:
        """Authenticate a request, and check what its headers say about its body.

        Raises
        ------
        HTTPException: it is refused.
        """
        self._keys.authenticate(headers, peer)
        check_headers(headers, self.max_bytes, self.media_types)

    def begin(self, headers: RawHeaders, body: bytes, started: float, reply: Callable[[JsonResponse], None]) -> None:
        """Answer a checked request; ``reply`` is called once, at once or from the event loop."""
        self._metrics.in_flight += 1

        def finish(result: JsonResponse | Exception) -> None:
            self._metrics.in_flight -= 1
            reply(self.finish(result, started))

        try:
            self._start(headers, body, started, finish)
        except Exception as error:
            finish(error)

    async def _handle(self, headers: RawHeaders, body: bytes, started: float) -> JsonResponse:
        return await self._handler(body, started)

    def _start(self, headers: RawHeaders, body: bytes, started: float, done: Done) -> None:
        self._begin(body, started, done)

    def finish(self, result: JsonResponse | Exception, started: float) -> JsonResponse:
        """Return the response to a request, and count it."""
        seconds: float | None = time.perf_counter() - started
        if isinstance(result, Exception):
            reply = reply_to_error(result)
            self._metrics.count_error(reply.kind)
            result = reply.as_response()
            if reply.status == 401:  # many of these would hide that the other requests are slow
                seconds = None
        self._metrics.count_request(self._path, result.status_code, seconds)
        return result


class BatchEndpoint(JsonEndpoint):
    """The endpoint of batches, which are JSON or Arrow streams, and so are their responses."""

    media_types: ClassVar[Sequence[bytes]] = BATCH

    def __init__(self, worker: Worker, path: str, handler: BatchHandler) -> None:
        super().__init__(worker, path, lambda body, started: handler(body, started, False, False))
        self._batch_handler = handler

    async def _handle(self, headers: RawHeaders, body: bytes, started: float) -> JsonResponse:
        sent = is_arrow(headers)
        return await self._batch_handler(body, started, sent, wants_arrow(headers, by_default=sent))

    def _start(self, headers: RawHeaders, body: bytes, started: float, done: Done) -> None:
        in_task(functools.partial(self._handle, headers))(body, started, done)


def in_task(handler: Handler) -> Begin:
    """Return a handler that runs another one in a task."""
    running: set[asyncio.Task[JsonResponse]] = set()

    async def run(body: bytes, started: float) -> JsonResponse:
        return await handler(body, started)

    def begin(body: bytes, started: float, done: Callable[[JsonResponse | Exception], None]) -> None:
        def finish(task: asyncio.Task[JsonResponse]) -> None:
            running.discard(task)
            if not task.cancelled():
                error = task.exception()
                done(error if isinstance(error, Exception) else task.result())

        task = asyncio.get_running_loop().create_task(run(body, started))
        running.add(task)
        task.add_done_callback(finish)

    return begin
