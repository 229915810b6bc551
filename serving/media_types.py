"""The media types of batches, and the choice between them."""

from __future__ import annotations

from collections.abc import Iterable

from serving.request_body import JSON

ARROW = b"application/vnd.apache.arrow.stream"

BATCH = (JSON, ARROW)

Headers = Iterable[tuple[bytes, bytes]]


def media_type(value: bytes) -> bytes:
    """Return the media type of a content type, without its parameters."""
    return value.partition(b";")[0].strip().lower()


def is_arrow(headers: Headers) -> bool:
    """Whether the body of a request is an Arrow stream."""
    return any(name == b"content-type" and media_type(value) == ARROW for name, value in headers)


def wants_arrow(headers: Headers, *, by_default: bool) -> bool:
    """Whether a client wants an Arrow stream rather than JSON (RFC 9110, section 12.5.1).

    Parameters
    ----------
    by_default: the answer for a client that takes both alike.
    """
    accepted = b",".join(value for name, value in headers if name == b"accept")
    if not accepted:
        return by_default
    weights = dict(map(_weight, accepted.split(b",")))
    arrow, json = (_weight_of(kind, weights) for kind in (ARROW, JSON))
    return by_default if arrow == json > 0 else arrow > json


def _weight(item: bytes) -> tuple[bytes, float]:
    kind, *parameters = (part.strip().lower() for part in item.split(b";"))
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0


def _weight_of(kind: bytes, weights: dict[bytes, float]) -> float:
    general = kind.partition(b"/")[0] + b"/*"
    return next((weights[name] for name in (kind, general, b"*/*") if name in weights), 0.0)
