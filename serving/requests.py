"""Reading a request: its media type, its size, and a body that comes in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from serving.replies import RefusalError

Receive = Callable[[], Awaitable[Any]]
JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"


class ClientLeftError(Exception):
    """The client closed the connection before its request was whole; nobody waits for an answer."""


async def read_json_body(headers: Iterable[tuple[bytes, bytes]], receive: Receive, most: int, timeout: float) -> bytes:
    """The body of a request that sends JSON; see ``read_body``."""
    return await read_body(headers, receive, most, timeout, JSON)


async def read_body(
    headers: Iterable[tuple[bytes, bytes]], receive: Receive, most: int, timeout: float, media_type: bytes
) -> bytes:
    """The body of a request.

    Parameters
    ----------
    headers, receive: from ASGI.
    most: bytes.
    timeout: seconds.
    media_type: what it has to be, as far as it says.

    Raises
    ------
    RefusalError: 415 where it says that it is something else, 413 where it is too large, 408 where it does not come in
        time.
    ClientLeftError: nobody waits for an answer any more.
    """
    for name, value in headers:
        if name == b"content-type":
            require_type(value, media_type)
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


def require_type(got: bytes, expected: bytes) -> None:
    """Refuse what says that it is something else, a pickle above all.

    Raises
    ------
    RefusalError: 415.
    """
    name = got.partition(b";")[0].strip().lower()
    if name != expected:
        said = name.decode("latin-1")[:80]
        raise RefusalError(415, f"content-type: expected {expected.decode()}, got {said or 'nothing'}")


def _too_large(most: int) -> RefusalError:
    return RefusalError(
        413, f"the body is larger than {most} bytes (RATCHET_MAX_BODY_BYTES)", (b"connection", b"close")
    )
