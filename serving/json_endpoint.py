"""Endpoints that take a JSON body: limits, error replies and request metrics."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.request_body import read_body
from serving.responses import reply_to_error
from serving.worker import Worker

# Given the body and its time of arrival, from ``time.perf_counter()``.
Handler = Callable[[bytes, float], Awaitable[Response]]

CLIENT_CLOSED_REQUEST = 499


class JsonEndpoint:
    """ASGI application of one path; an error that its handler raises becomes a response too."""

    def __init__(self, worker: Worker, path: str, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._metrics = worker.metrics
        self._max_bytes = worker.settings.max_body_bytes
        self._timeout = worker.settings.request_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request."""
        response = await self.respond(scope["headers"], receive)
        await response(scope, receive, send)

    async def respond(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> Response:
        """Return the response to a request, and count it."""
        started = time.perf_counter()
        self._metrics.in_flight += 1
        response: Response
        try:
            body = await read_body(headers, receive, self._max_bytes, self._timeout)
            response = await self._handler(body, started)
        except ClientDisconnect:
            self._metrics.count_error("client_left")
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:
            reply = reply_to_error(error)
            self._metrics.count_error(reply.kind)
            response = reply.as_response()
        finally:
            self._metrics.in_flight -= 1
        self._metrics.count_request(self._path, response.status_code, time.perf_counter() - started)
        return response
