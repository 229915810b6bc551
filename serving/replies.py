"""What goes back over HTTP, and how an error becomes a reply that says what to do and nothing of the inside."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from ratchet.errors import InputError, UnavailableError

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

# On every reply; /docs alone needs a policy of its own, since it is a page.
SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
CLOSED_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
JSON_HEADERS: Headers = [(b"content-type", b"application/json"), *SECURITY, CLOSED_POLICY]
RETRY_AFTER = 1


class Reply(NamedTuple):
    """A status, headers and a body of JSON."""

    status: int
    body: bytes
    headers: Headers


class RefusalError(Exception):
    """A request that gets no answer.

    Parameters
    ----------
    status: the HTTP status.
    message: for the person who sent it.
    headers: to send beside.
    """

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = list(headers)


def answer(value: Any) -> Reply:
    """A value as a 200."""
    return _reply(200, value)


def refuse(error: Exception) -> tuple[Reply, str]:
    """An error as a reply, and its kind for the metrics."""
    if isinstance(error, InputError):
        details = [{"field": problem.field, "message": problem.message} for problem in error.problems]
        return _reply(422, {"error": f"invalid input: {error}", "details": details}), "input"
    if isinstance(error, RefusalError):
        return _reply(error.status, {"error": str(error)}, error.headers), _KINDS.get(error.status, "input")
    if isinstance(error, UnavailableError):
        retry = [(b"retry-after", b"%d" % RETRY_AFTER)]
        return _reply(503, {"error": f"{error}; try again later"}, retry), "unavailable"
    logger.exception("a request failed", exc_info=error)
    return _reply(500, {"error": "the service failed on this request; its log says why"}), "internal"


async def send_reply(reply: Reply, send: Any) -> None:
    """Send a reply over ASGI."""
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


def with_security(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers with what every reply carries, and without the server's name."""
    present = [(name.lower(), value) for name, value in headers if name.lower() != b"server"]
    names = {name for name, _ in present}
    return present + [header for header in (*SECURITY, CLOSED_POLICY) if header[0] not in names]


_KINDS = {401: "key", 408: "timeout", 413: "size", 415: "media_type", 503: "unavailable"}


def _reply(status: int, value: Any, headers: Headers | None = None) -> Reply:
    body = orjson.dumps(value)
    return Reply(status, body, [*JSON_HEADERS, (b"content-length", b"%d" % len(body)), *(headers or ())])
