"""API keys: who may ask."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from ratchet.errors import ConfigError
from ratchet.settings import Settings
from serving.replies import RefusalError

_SHORTEST_KEY = 16


class Keys:
    """The API keys that the settings name.

    Parameters
    ----------
    settings: without keys, a local service is open; any other has to have some.

    Raises
    ------
    ConfigError: a service that is not local has no keys, or a key is too short to be a secret.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = [key.get_secret_value().encode() for key in settings.api_keys]
        if settings.env == "local":
            return
        if not self._keys:
            raise ConfigError(f"RATCHET_API_KEYS: RATCHET_ENV={settings.env} needs at least one API key, got none")
        if any(len(key) < _SHORTEST_KEY for key in self._keys):
            raise ConfigError(f"RATCHET_API_KEYS: a key needs at least {_SHORTEST_KEY} characters; one has fewer")

    def require(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Let a request in, or raise.

        Raises
        ------
        RefusalError: 401, without a word on what was wrong with the key.
        """
        if not self._keys:
            return
        given = []
        for name, value in headers:
            if name == b"x-api-key":
                given.append(value)
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                given.append(value[7:])
        # Every key is compared, in a time that does not depend on where the first difference is.
        if not sum(hmac.compare_digest(one, key) for one in given for key in self._keys):
            challenge = (b"www-authenticate", b'Bearer realm="ratchet"')
            raise RefusalError(401, "an API key is needed: send X-API-Key, or Authorization: Bearer", challenge)
