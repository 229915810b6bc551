"""Authentication by API key."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.exceptions import HTTPException

from ratchet.settings import Settings


class ApiKeys:
    """The API keys of the service; without any, which `check_secrets` allows locally, every request is accepted."""

    def __init__(self, settings: Settings) -> None:
        self._keys = [key.get_secret_value().encode() for key in settings.api_keys]

    def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
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
            raise HTTPException(
                401,
                "an API key is needed: send X-API-Key, or Authorization: Bearer",
                {"www-authenticate": 'Bearer realm="ratchet"'},
            )
