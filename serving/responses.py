"""JSON responses, security headers, and the mapping from errors to responses."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ratchet.errors import InputError, UnavailableError
from ratchet.feedback.table import ContradictionError, FeedbackRow, GonePredictionError, UnknownPredictionError
from ratchet.store.timestamps import iso_utc
from serving.media_types import ARROW
from serving.schemas import Contradiction, Detail, ErrorBody, Standing

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
# Pages send a policy of their own instead.
DENY_ALL_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
JSON_HEADERS: Headers = [(b"content-type", b"application/json"), *SECURITY_HEADERS, DENY_ALL_POLICY]
_ARROW_HEADERS: Headers = [(b"content-type", ARROW), *JSON_HEADERS[1:]]
_RETRY_AFTER_SECONDS = "1"
_KINDS = {
    401: "key",
    403: "link",
    410: "link",
    408: "timeout",
    413: "size",
    415: "media_type",
    431: "headers",
    503: "unavailable",
}


class JsonResponse(Response):
    """A response with a JSON body and the security headers."""

    common_headers = JSON_HEADERS

    def __init__(self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        # Without the constructor of the base class, which takes longer than the serialization.
        self.status_code = status_code
        self.background = None
        self.body = orjson.dumps(content)
        self.extra_headers = headers or {}

    @cached_property
    def raw_headers(self) -> Headers:  # type: ignore[override] # made only if ASGI asks for it
        """All headers, as ASGI has them."""
        extra = [(name.encode(), value.encode()) for name, value in self.extra_headers.items()]
        return [*self.common_headers, (b"content-length", b"%d" % len(self.body)), *extra]


class BatchResponse(JsonResponse):
    """The response to a batch: JSON, or an Arrow stream."""

    def __init__(self, body: bytes, *, is_arrow: bool) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.extra_headers = {}
        if is_arrow:
            self.common_headers = _ARROW_HEADERS


class ErrorReply(NamedTuple):
    """The reply to a request that failed; ``kind`` is the label of the error in the metrics."""

    status: int
    body: ErrorBody
    kind: str
    headers: Mapping[str, str] = {}

    def as_response(self) -> JsonResponse:
        """Return the reply as a JSON response."""
        return JsonResponse(self.body, self.status, self.headers)


def reply_to_error(error: Exception) -> ErrorReply:
    """Return the reply to an error; it contains no internals, and an unexpected error is logged."""
    match error:
        case InputError():
            details: list[Detail] = [{"field": problem.field, "message": problem.message} for problem in error.problems]
            return ErrorReply(422, {"error": f"invalid input: {error}", "details": details}, "input")
        case HTTPException():
            kind = _KINDS.get(error.status_code, "input")
            return ErrorReply(error.status_code, {"error": error.detail}, kind, error.headers or {})
        case UnavailableError():
            retry = {"retry-after": _RETRY_AFTER_SECONDS}
            return ErrorReply(503, {"error": f"{error}; try again later"}, "unavailable", retry)
        case UnknownPredictionError():
            status = 410 if isinstance(error, GonePredictionError) else 404
            return ErrorReply(status, {"error": str(error)}, "unknown")
        case ContradictionError():
            contradiction: Contradiction = {"error": str(error), "standing": _standing(error.current)}
            return ErrorReply(409, contradiction, "contradiction")
    logger.error("a request failed", exc_info=error)
    return ErrorReply(500, {"error": "the service failed on this request; see its log"}, "internal")


def with_security_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers with the missing security headers added and without the name of the server."""
    present = [(name.lower(), value) for name, value in headers if name.lower() != b"server"]
    names = {name for name, _ in present}
    return present + [header for header in (*SECURITY_HEADERS, DENY_ALL_POLICY) if header[0] not in names]


def _standing(current: FeedbackRow) -> Standing:
    return {
        "prediction_id": current.prediction_id,
        "target": current.target,
        "correct": current.correct,
        "revision": current.revision,
        "source": current.source,
        "created_at": iso_utc(current.created_at, "milliseconds"),
    }
