"""Authentication by API key."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.exceptions import HTTPException

from ratchet.errors import ConfigError
from ratchet.settings import Settings

_MIN_KEY_LENGTH = 16


class ApiKeys:
    """The API keys of the service.

    Parameters
    ----------
    settings: a local service without keys accepts every request; in any other environment keys are required.

    Raises
    ------
    ConfigError: outside a local environment, no key is set or a key is too short.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = [key.get_secret_value().encode() for key in settings.api_keys]
        if settings.env == "local":
            return
        if not self._keys:
            raise ConfigError(f"RATCHET_API_KEYS: RATCHET_ENV={settings.env} needs at least one API key, got none")
        if any(len(key) < _MIN_KEY_LENGTH for key in self._keys):
            raise ConfigError(f"RATCHET_API_KEYS: a key needs at least {_MIN_KEY_LENGTH} characters; one has fewer")

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
