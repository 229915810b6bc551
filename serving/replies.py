"""What goes back over HTTP, and how an error becomes a reply that says what to do and nothing of the inside."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from ratchet.errors import InputError, UnavailableError
from ratchet.feedback.table import ContradictionError, Standing, UnknownPredictionError
from ratchet.store.timestamps import iso_utc

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


class Refusal(NamedTuple):
    """How an error is told.

    Attributes
    ----------
    status: the HTTP status.
    value: the body.
    kind: its name in the metrics.
    headers: to send beside.
    """

    status: int
    value: dict[str, Any]
    kind: str
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


def answer(value: Any, status: int = 200) -> Reply:
    """A value as a reply."""
    return _reply(status, value)


def refuse(error: Exception) -> tuple[Reply, str]:
    """An error as a reply, and its kind for the metrics."""
    refused = refusal(error)
    return _reply(refused.status, refused.value, refused.headers), refused.kind


def refusal(error: Exception) -> Refusal:
    """What is said of an error; one that nobody expected is logged."""
    if isinstance(error, InputError):
        details = [{"field": problem.field, "message": problem.message} for problem in error.problems]
        return Refusal(422, {"error": f"invalid input: {error}", "details": details}, "input", [])
    if isinstance(error, RefusalError):
        return Refusal(error.status, {"error": str(error)}, _KINDS.get(error.status, "input"), error.headers)
    if isinstance(error, UnavailableError):
        retry = [(b"retry-after", b"%d" % RETRY_AFTER)]
        return Refusal(503, {"error": f"{error}; try again later"}, "unavailable", retry)
    if isinstance(error, UnknownPredictionError):
        return Refusal(404, {"error": str(error)}, "unknown", [])
    if isinstance(error, ContradictionError):
        return Refusal(409, {"error": str(error), "standing": _standing(error.standing)}, "contradiction", [])
    logger.exception("a request failed", exc_info=error)
    return Refusal(500, {"error": "the service failed on this request; its log says why"}, "internal", [])


async def send_reply(reply: Reply, send: Any) -> None:
    """Send a reply over ASGI."""
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


def with_security(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers with what every reply carries, and without the server's name."""
    present = [(name.lower(), value) for name, value in headers if name.lower() != b"server"]
    names = {name for name, _ in present}
    return present + [header for header in (*SECURITY, CLOSED_POLICY) if header[0] not in names]


_KINDS = {401: "key", 403: "link", 410: "link", 408: "timeout", 413: "size", 415: "media_type", 503: "unavailable"}


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "prediction_id": standing.prediction_id,
        "target": standing.target,
        "correct": standing.correct,
        "revision": standing.revision,
        "source": standing.source,
        "created_at": iso_utc(standing.created_at, "milliseconds"),
    }


def _reply(status: int, value: Any, headers: Headers | None = None) -> Reply:
    body = orjson.dumps(value)
    return Reply(status, body, [*JSON_HEADERS, (b"content-length", b"%d" % len(body)), *(headers or ())])
