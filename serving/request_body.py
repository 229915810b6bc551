"""Request bodies: media type, content coding, size limit and time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
# The rest of the body is not read, so that the connection cannot be used again.
_CLOSE = {"connection": "close"}
# A small compressed body may expand beyond any limit, and a record is smaller than what compression saves.
_NOT_ENCODED = frozenset({b"", b"identity"})
_IDENTITY = {"accept-encoding": "identity"}


async def read_body(
    headers: Iterable[tuple[bytes, bytes]],
    receive: Receive,
    max_bytes: int,
    timeout: float,
    media_types: Sequence[bytes] = (JSON,),
) -> bytes:
    """Read the body of a request.

    Parameters
    ----------
    headers, receive: from ASGI.
    max_bytes: the largest body that is accepted.
    timeout: in seconds.
    media_types: what the content type has to be, if there is one.

    Raises
    ------
    HTTPException: 415 for another content type or a compressed body, 413 for a body that is too large, 408 for one
        that is too late.
    ClientDisconnect: the client closed the connection.
    """
    check_headers(headers, max_bytes, media_types)
    try:
        async with asyncio.timeout(timeout):
            return await _receive_all(receive, max_bytes)
    except TimeoutError:
        raise too_late(timeout) from None


def check_headers(
    headers: Iterable[tuple[bytes, bytes]], max_bytes: int, media_types: Sequence[bytes] = (JSON,)
) -> None:
    """Check what the headers of a request announce about its body.

    Raises
    ------
    HTTPException: 415 for another content type, or for a content coding such as gzip; 413 for a length above the limit.
    """
    for name, value in headers:
        if name == b"content-type" and value not in media_types:
            require_media_type(value, *media_types)
        elif name == b"content-length" and (not value.isdigit() or len(value) > 18 or int(value) > max_bytes):
            raise too_large(max_bytes)
        elif name == b"content-encoding" and value.strip().lower() not in _NOT_ENCODED:
            shown = value.decode("latin-1")[:80]
            raise HTTPException(415, f"content-encoding: expected identity, got {shown}", _IDENTITY)


def require_media_type(content_type: bytes, *expected: bytes) -> None:
    """Check that the media type of a content type is one of those expected.

    Raises
    ------
    HTTPException: 415.
    """
    got = content_type.partition(b";")[0].strip().lower()
    if got not in expected:
        shown = got.decode("latin-1")[:80] or "nothing"
        wanted = " or ".join(kind.decode() for kind in expected)
        raise HTTPException(415, f"content-type: expected {wanted}, got {shown}")


async def _receive_all(receive: Receive, max_bytes: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > max_bytes:
                raise too_large(max_bytes)
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    return body


def too_large(max_bytes: int) -> HTTPException:
    """Return the refusal of a body that is too large."""
    return HTTPException(413, f"the body is larger than {max_bytes} bytes (RATCHET_MAX_BODY_BYTES)", _CLOSE)


def too_late(timeout: float) -> HTTPException:
    """Return the refusal of a body that did not arrive in time."""
    return HTTPException(408, f"the request body did not arrive within {timeout:g} s", _CLOSE)
