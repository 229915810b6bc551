"""Authentication by API key, and the log of requests without one."""

from __future__ import annotations

import contextlib
import hmac
import logging
import time
from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ratchet.settings import Settings

logger = logging.getLogger(__name__)

RawHeaders = Iterable[tuple[bytes, bytes]]
# Host and port of the other end of a connection; None if it is not known.
Peer = tuple[str, int] | None

# Seconds between two log lines of one worker, so that refused requests do not fill the disk.
_LOG_INTERVAL = 1.0


class ApiKeys:
    """The API keys of the service; without any, which `check_secrets` allows locally, every request is accepted."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [key.get_secret_value().encode() for key in settings.api_keys]
        self._clients = ProxyHeadersMiddleware(_nothing, [str(network) for network in settings.trusted_proxies])
        self._refused = 0
        self._next_line = 0.0

    def authenticate(self, headers: RawHeaders, peer: Peer) -> None:
        """Check that the headers of a request carry a valid key.

        Raises
        ------
        HTTPException: 401, with the same message whatever is wrong with the key.
        """
        if not self._keys:
            return
        given = []
        for name, value in headers:
            if name == b"x-api-key":
                given.append(value)
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                given.append(value[7:])
        # All pairs are compared, each in constant time, so that the response time reveals nothing about a key.
        if not sum(hmac.compare_digest(candidate, key) for candidate in given for key in self._keys):
            self._log(headers, peer)
            raise HTTPException(
                401,
                "an API key is needed: send X-API-Key, or Authorization: Bearer",
                {"www-authenticate": 'Bearer realm="ratchet"'},
            )

    def client(self, headers: RawHeaders, peer: Peer) -> str | None:
        """Return the address of a client: the other end of the connection, or what a trusted proxy there forwards."""
        scope: dict[str, Any] = {"type": "http", "scheme": "http", "client": peer, "headers": headers}
        # It waits for nothing but the application, which does nothing.
        with contextlib.suppress(StopIteration):
            self._clients(scope, None, None).send(None)  # type: ignore[arg-type]
        return scope["client"][0] if scope["client"] else None

    def _log(self, headers: RawHeaders, peer: Peer) -> None:
        self._refused += 1
        now = time.monotonic()
        if now >= self._next_line:
            line = {"client": self.client(headers, peer), "refused": self._refused}
            logger.warning("a request without a valid API key was refused", extra=line)
            self._refused, self._next_line = 0, now + _LOG_INTERVAL


async def _nothing(*_: Any) -> None:
    """The application behind the middleware, of which only the client's address is needed."""
