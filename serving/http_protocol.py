"""The HTTP protocol of ``python run.py serve``: uvicorn's, with limits, and with a short way for frequent requests.

Limits on headers, time and connections hold before a request is authenticated, and cost no timer for each request.
POST requests to /predict and /feedback are answered without an ASGI scope and a task. Everything else goes on to
the ASGI application, by uvicorn's own code.
"""

from __future__ import annotations

import fcntl
import functools
import math
import struct
import termios
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import httptools
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving.connection_table import ConnectionTable
from serving.json_endpoint import JsonEndpoint
from serving.request_body import too_large, too_late
from serving.responses import JSON_HEADERS, Headers, JsonResponse, reply_to_error
from serving.routes import BATCH_PATH, json_endpoints
from serving.worker import this_worker

# Bytes that the parser gets at once: a bound on the requests that one call can start.
_SLICE = 4096
# Requests of a connection that may wait for the answer to an earlier one.
_MOST_PIPELINED = 64
# After a refusal, what the client still sends is discarded for some time, in seconds, and up to some bytes. A
# connection that is closed at once is reset, and the client loses the reply.
_LINGER = 2.0
_MOST_DISCARDED = 16 * 2**20
# Requests with these headers take uvicorn's way: an interim response, and the headers of CORS.
_BY_ASGI = frozenset((b"expect", b"origin"))
_HOP_BY_HOP = frozenset((b"upgrade", b"http2-settings", b"connection"))
_PROBES = frozenset((b"/livez", b"/readyz", b"/healthz"))
_NOT_HTTP = HTTPException(400, "not a valid HTTP request")


class _Request:
    """A request that is answered without the ASGI application."""

    __slots__ = ("_protocol", "body", "endpoint", "error", "headers", "keep_alive", "size", "started", "whole")

    def __init__(self, protocol: HttpProtocol, endpoint: JsonEndpoint, headers: Headers, keep_alive: bool) -> None:
        self._protocol = protocol
        self.endpoint = endpoint
        self.headers = headers
        self.keep_alive = keep_alive
        self.started = time.perf_counter()
        self.body: list[bytes] = []
        self.size = 0
        self.whole = False
        self.error: HTTPException | None = None

    def __call__(self) -> None:
        """Answer the request."""
        if self.error is not None:
            self._reply(self.endpoint.finish(self.error, self.started))
        else:
            body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
            self.endpoint.begin(self.headers, body, self.started, self._reply)

    def _reply(self, response: JsonResponse) -> None:
        self._protocol.reply(self, response)


class _Heads:
    """The beginnings of responses by status, which are the same until the clock shows another second."""

    def __init__(self) -> None:
        self._default: Headers = []
        self._heads: dict[int, bytes] = {}

    def of(self, status: int, default: Headers) -> bytes:
        """Return status line and common headers; ``default`` is a new list each second."""
        if default is not self._default:
            self._default, self._heads = default, {}
        head = self._heads.get(status)
        if head is None:
            head = self._heads[status] = _head(status, default, JSON_HEADERS)
        return head


def _head(status: int, *headers: Headers) -> bytes:
    """Return status line and headers."""
    lines = [name + b": " + value + b"\r\n" for part in headers for name, value in part]
    return b"".join((STATUS_LINE[status], *lines))


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    Parameters
    ----------
    table: all connections of the worker.
    uvicorn: what uvicorn passes to its own protocol.
    """

    _heads = _Heads()

    def __init__(self, table: ConnectionTable, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._table = table
        self._limits = table.limits
        self._endpoints = _endpoints()
        self._metrics = this_worker().metrics
        self.deadline = math.inf
        self.waiting_since: float | None = None
        # What the parser is in, and the bytes it was given since its last event.
        self._in_head = self._in_body = self._made_progress = False
        self._stalled = 0
        self._request: _Request | None = None
        self._by_asgi = False
        # The request that is answered now, those behind it, and bytes that are parsed when there are none.
        self._busy = False
        # Whether the next request waits until the client has read earlier answers; the connection is busy until then.
        self._is_held = False
        self._queue: deque[Callable[[], None]] = deque()
        self._rest = memoryview(b"")
        # Whether input is discarded, and whether the connection ends after the answers under way.
        self._deaf = self._ending = False
        self._discarded = 0
        self._is_surplus = False

    # The connection

    def connection_made(self, transport: Any) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)
        self._is_surplus = not self._table.add(self)
        self.waiting_since = self.loop.time()
        self.deadline = self.waiting_since + self._limits.header_time
        if self._is_surplus and self._table.is_overfull:
            self._refuse(_too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and what waits on it."""
        self._table.remove(self)
        self.deadline, self.waiting_since = math.inf, None
        if self._request is not None and not self._request.whole:
            self._metrics.count_error("client_left")
        self._request = None
        self._queue.clear()
        self._rest = memoryview(b"")
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Limit the time that the client takes to read."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """Go on after the client has read."""
        super().resume_writing()
        if self._is_held:
            self._is_held = False
            self._next()
        elif self._busy:
            self.deadline = math.inf
            if not self._in_body:
                self.waiting_since = None
        else:
            self.deadline = self.loop.time() + self._limits.idle_time

    def _wait_for_reader(self) -> None:
        self.waiting_since = self.loop.time()
        self.deadline = self.waiting_since + self._limits.idle_time

    def expire(self) -> None:
        """End a request that is late, or a connection without one."""
        self.deadline = self.loop.time() + _LINGER
        if self._deaf or self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif self._in_head:
            seconds = self._limits.header_time
            self._refuse(HTTPException(408, f"the headers did not arrive within {seconds:g} s"))
        elif self._request is not None and not self._request.whole:
            self._fail(self._request, too_late(self._limits.body_time))
        elif not self._busy:
            self.transport.close()

    def give_way(self) -> None:
        """Close for the sake of a new connection; a request that has begun to come is refused."""
        if self._deaf or self._busy or self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self._in_head or self._in_body:
            self._refuse(_too_many_connections())
            self.loop.call_later(_LINGER, self.transport.abort)  # its deadline is not checked any more
        else:
            self.transport.close()

    def drain(self) -> None:
        """Close after the answer under way."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close when what was received is answered; called when the service stops."""
        self.drain()
        if not (self.transport.is_closing() or self._busy or self._in_head or self._in_body or self._unread()):
            self.transport.close()

    def _unread(self) -> int:
        """Return the number of bytes that have arrived and were not read yet."""
        descriptor = self.transport.get_extra_info("socket").fileno()
        return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0])

    # Bytes

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        if self._deaf:
            self._discarded += len(data)
            if self._discarded > _MOST_DISCARDED:
                self.transport.abort()
        elif self._rest:
            self._parse(memoryview(bytes(self._rest) + data))
        elif len(data) <= _SLICE and len(data) + self._stalled <= self._limits.header_bytes and not self._queue:
            if again := self._feed(data):
                self._parse(memoryview(again))
        else:
            self._parse(memoryview(data))

    def _parse(self, data: memoryview) -> None:
        """Parse in slices, and not while a request waits for the answer to an earlier one."""
        self._rest = memoryview(b"")
        while data and not self._deaf and not self.transport.is_closing():
            if self._queue:
                self._rest = data
                self.flow.pause_reading()
                return
            size = min(_SLICE, self._limits.header_bytes - self._stalled)
            again = self._feed(data[:size])
            data = memoryview(again + bytes(data[size:])) if again else data[size:]

    def _feed(self, data: bytes | memoryview) -> bytes:
        """Give bytes to the parser, and limit those that it takes without an event, as it keeps unfinished headers.

        Returns what has to be parsed again.
        """
        again = b""
        self._made_progress = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            again = self._without_upgrade() + bytes(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not isinstance(error.__context__, httptools.HttpParserError | None):
                self.logger.error("a request could not be started", exc_info=error)
            self._refuse(_NOT_HTTP)
        if self._made_progress:
            self._stalled = 0
        else:
            self._stalled += len(data)
            if self._stalled >= self._limits.header_bytes:
                self._refuse(HTTPException(431, f"the headers are larger than {self._limits.header_bytes} bytes"))
        return again

    def _without_upgrade(self) -> bytes:
        """Return the head of a request that asks for another protocol, without that, for a new parser.

        A server may go on with HTTP/1.1 (RFC 9110, 7.8). The parser takes all that follows the head for the other
        protocol, the request's body too.
        """
        method = self.parser.get_method()
        self._new_parser()
        if method == b"CONNECT":
            self._refuse(_NOT_HTTP)
        tokens = {
            token.strip().lower()
            for name, value in self.headers
            if name == b"connection"
            for token in value.split(b",")
        }
        lines = [b"%s %s HTTP/1.1" % (method, self.url)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] not in _HOP_BY_HOP]
        if b"close" in tokens:
            lines.append(b"connection: close")
        return b"\r\n".join((*lines, b"", b""))

    def _new_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn does, so that a request with "connection: close" that has others behind it is answered.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    # The parser's events

    def on_message_begin(self) -> None:
        """Start a request."""
        self.url = b""
        self.headers = []
        self._in_head = True
        self._by_asgi = False
        if not self._busy:
            self.waiting_since = self.loop.time()
            self.deadline = self.waiting_since + self._limits.header_time

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; a trailer is ignored."""
        if self._in_head:
            name = name.lower()
            if name in _BY_ASGI:
                self._by_asgi = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Choose who answers."""
        self._made_progress = True
        self._in_head = False
        if self._deaf or self._ending:
            return
        if self.parser.should_upgrade():
            return  # and parsed again without the upgrade
        self._in_body = True
        if len(self.headers) > self._limits.headers:
            self._refuse(HTTPException(431, f"more than {self._limits.headers} headers"))
        elif self._is_surplus and self.url not in _PROBES:
            self._refuse(_too_many_connections())
        elif len(self._queue) >= _MOST_PIPELINED:
            self._ending = True
        else:
            self._begin_request()

    def _begin_request(self) -> None:
        endpoint = None if self._by_asgi else self._endpoints.get(self.url)
        parser = self.parser
        if endpoint is None or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            self._begin_asgi()
            return
        if not self._busy:
            self.deadline = self.loop.time() + self._limits.body_time
        request = self._request = _Request(self, endpoint, self.headers, parser.should_keep_alive())
        try:
            endpoint.check(self.headers, self.client)
        except HTTPException as error:
            self._fail(request, error)

    def _begin_asgi(self) -> None:
        """Do what uvicorn does at the begin of a request, and at the end of its headers."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.scope["headers"] = url, headers
        self.headers = headers
        if self._by_asgi:
            self.expect_100_continue = (b"expect", b"100-continue") in [
                (name, value.lower()) for name, value in headers
            ]
        self.cycle = None  # type: ignore[assignment] # the queue is ours: uvicorn starts each at once
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._made_progress = True
        request = self._request
        if request is not None:
            if not request.whole:
                request.body.append(body)
                request.size += len(body)
                if request.size > request.endpoint.max_bytes:
                    self._fail(request, too_large(request.endpoint.max_bytes))
        elif self._in_body and not self._deaf and not self._ending:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a request whose body is complete."""
        self._made_progress = True
        request, self._request = self._request, None
        was_in_body, self._in_body = self._in_body, False
        if request is not None:
            if not request.whole:
                request.whole = True
                self._start(request)
        elif was_in_body and not self._deaf and not self._ending:
            if self._busy:
                self.waiting_since = None
            super().on_message_complete()

    # Answers, in the order of the requests

    def _fail(self, request: _Request, error: HTTPException) -> None:
        """Refuse a request whose body is ignored from now on."""
        request.error = error
        request.whole = True
        self._start(request)

    def _start(self, request: Callable[[], None]) -> None:
        if self._busy:
            self._queue.append(request)
            return
        self._busy = True
        self.deadline = math.inf
        if not self._in_body:
            self.waiting_since = None
        request()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._table.draining:
            cycle.keep_alive = False
        self._start(functools.partial(super()._start_asgi_task, cycle, app))

    def reply(self, request: _Request, response: JsonResponse) -> None:
        """Send the answer to a request, and go on with the next one."""
        if self.transport.is_closing():
            return
        self.server_state.total_requests += 1
        closes = not request.keep_alive or self._table.draining or "connection" in response.extra_headers
        self._send(response, closes=closes)
        if not closes:
            self._next()
        elif self._in_body or self._in_head or self._queue or self._rest:
            self._linger()
        else:
            self.transport.close()

    def _send(self, response: JsonResponse, *, closes: bool) -> None:
        default = self.server_state.default_headers
        if response.common_headers is JSON_HEADERS:
            parts = [self._heads.of(response.status_code, default)]
        else:
            parts = [_head(response.status_code, default, response.common_headers)]
        parts += [f"{name}: {value}\r\n".encode() for name, value in response.extra_headers.items()]
        if closes and "connection" not in response.extra_headers:
            parts.append(b"connection: close\r\n")
        parts += (b"content-length: %d\r\n\r\n" % len(response.body), bytes(response.body))
        self.transport.write(b"".join(parts))

    def on_response_complete(self) -> None:
        """Go on with the next request, after an answer of the ASGI application."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self._next()

    def _next(self) -> None:
        if self.flow.write_paused:  # a client that does not read would fill the memory with answers
            self._is_held = True
            self._wait_for_reader()
            return
        self._busy = False
        if self._queue:
            self._start(self._queue.popleft())
        elif self._ending:
            self._linger()
        else:
            self.waiting_since = self.loop.time()
            limits = self._limits
            time = limits.header_time if self._in_head else limits.body_time if self._in_body else limits.idle_time
            self.deadline = self.waiting_since + time
            if self._rest:  # not at once: the parser may have called
                self.loop.call_soon(self._parse_rest)
            else:
                self.flow.resume_reading()

    def _parse_rest(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._parse(self._rest)

    def _refuse(self, error: HTTPException) -> None:
        """Reply to what cannot be answered as a request, and close the connection after the answers under way."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = self._ending = True
        if self._busy:
            if self._in_body:  # the request that is answered is the wrong one
                self.transport.close()
            return
        reply = reply_to_error(error)
        self._metrics.count_error(reply.kind)
        self._metrics.count_request("other", reply.status, None)
        self._send(reply.as_response(), closes=True)
        self._linger()

    def _linger(self) -> None:
        """End the answers, and wait for the client to close."""
        self._deaf = True
        self._request = None
        self._rest = memoryview(b"")
        self.waiting_since = 0.0
        self.deadline = self.loop.time() + _LINGER
        self.transport.write_eof()
        self.flow.resume_reading()


@functools.cache
def _endpoints() -> Mapping[bytes, JsonEndpoint]:
    """Return the endpoints that need no ASGI application, by path."""
    return {path.encode(): json_endpoints()[path] for path in ("/predict", BATCH_PATH, "/feedback")}


def _too_many_connections() -> HTTPException:
    return HTTPException(503, "the service has too many connections; try again later", {"retry-after": "1"})
