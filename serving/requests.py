"""Reading a request: its media type, its size, and a body that comes in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from serving.replies import RefusalError

Receive = Callable[[], Awaitable[Any]]


class ClientLeftError(Exception):
    """The client closed the connection before its request was whole; nobody waits for an answer."""


async def read_json_body(headers: Iterable[tuple[bytes, bytes]], receive: Receive, most: int, timeout: float) -> bytes:
    """The body of a request.

    Parameters
    ----------
    headers, receive: from ASGI.
    most: bytes.
    timeout: seconds.

    Raises
    ------
    RefusalError: 415 where it says that it is no JSON, 413 where it is too large, 408 where it does not come in time.
    ClientLeftError: nobody waits for an answer any more.
    """
    for name, value in headers:
        if name == b"content-type":
            require_json(value)
        elif name == b"content-length" and (not value.isdigit() or len(value) > 18 or int(value) > most):
            raise _too_large(most)
    try:
        async with asyncio.timeout(timeout):
            return await _whole(receive, most)
    except TimeoutError:
        raise RefusalError(
            408, f"the request's body did not come within {timeout:g} s", (b"connection", b"close")
        ) from None


async def _whole(receive: Receive, most: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > most:
                raise _too_large(most)
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    if len(body) > most:
        raise _too_large(most)
    return body


def require_json(media_type: bytes) -> None:
    """Refuse what says that it is no JSON, a pickle above all.

    Raises
    ------
    RefusalError: 415.
    """
    name = media_type.partition(b";")[0].strip().lower()
    if name != b"application/json":
        got = name.decode("latin-1")[:80]
        raise RefusalError(415, f"content-type: expected application/json, got {got or 'nothing'}")


def _too_large(most: int) -> RefusalError:
    return RefusalError(
        413, f"the body is larger than {most} bytes (RATCHET_MAX_BODY_BYTES)", (b"connection", b"close")
    )
