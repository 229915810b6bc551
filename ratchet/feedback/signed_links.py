"""Signed links to the page on which a person says what a prediction should have been.

A token names one prediction, is good for nothing else, and for a while: whoever has the link may answer, as with a key.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import time
from pathlib import Path

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from ratchet.errors import ConfigError, RatchetError, StateError, UnavailableError
from ratchet.settings import Settings, prepare_home

logger = logging.getLogger(__name__)

# Whatever else is ever signed with the same secret, its tokens are no links.
_SALT = "ratchet.feedback.link"
_SIGNED = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
_SHORTEST_SECRET = 16
_FILE = "link.key"


class LinkError(RatchetError):
    """A link that is none, or was changed."""


class ExpiredLinkError(LinkError):
    """A link that was good once."""


class Links:
    """Makes and reads the tokens of links.

    Parameters
    ----------
    settings: the secret and how long a link is good. Without a secret a local service keeps one in its home.

    Raises
    ------
    ConfigError: the secret is too short, or a service that is not local has none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._secret = settings.link_secret.get_secret_value() if settings.link_secret else ""
        if len(self._secret) >= _SHORTEST_SECRET:
            return
        got = f"one of {len(self._secret)}" if self._secret else "none"
        if settings.env != "local":
            raise ConfigError(
                f"RATCHET_LINK_SECRET: RATCHET_ENV={settings.env} needs a secret of at least {_SHORTEST_SECRET}"
                f" characters, got {got}"
            )
        if self._secret:
            raise ConfigError(
                f"RATCHET_LINK_SECRET: expected a secret of at least {_SHORTEST_SECRET} characters, got {got}; without"
                " it a local service makes one"
            )

    def token(self, prediction_id: str) -> tuple[str, float]:
        """A token for a prediction, and when it expires, in seconds since the epoch.

        Raises
        ------
        UnavailableError: there is no secret, and the home has none that is good and can keep none.
        """
        return str(self._serializer().dumps(prediction_id)), int(time.time()) + self._settings.link_lifetime

    def prediction_id(self, token: str) -> str:
        """The prediction that a token is for.

        Raises
        ------
        ExpiredLinkError: it was good once.
        LinkError: it was never made here.
        UnavailableError: there is no secret, and the home has none that is good and can keep none.
        """
        try:
            return str(self._serializer().loads(token, max_age=self._settings.link_lifetime))  # type: ignore[arg-type]
        except SignatureExpired:
            raise ExpiredLinkError("this link has expired") from None
        except BadSignature:
            raise LinkError("this link is not valid") from None

    def _serializer(self) -> URLSafeTimedSerializer:
        self._secret = self._secret or _kept_secret(self._settings)
        return URLSafeTimedSerializer(self._secret, salt=_SALT, signer_kwargs=_SIGNED)


def _kept_secret(settings: Settings) -> str:
    """The secret in a file that only its owner can read; made by whoever comes first."""
    path = settings.home / _FILE
    try:
        if not path.exists():
            _make_secret(prepare_home(settings) / _FILE)
        secret = path.read_text()
    except (OSError, UnicodeDecodeError, StateError) as error:
        logger.error("the secret of links, %s: %s", path, error)
        raise UnavailableError("links cannot be signed") from None
    # Two that made a new one in its place at once would each sign with their own.
    if len(secret.strip()) < _SHORTEST_SECRET:
        logger.error(
            "the secret of links, %s: is shorter than %d characters, so that anybody could sign; remove the file, and"
            " a new one is made",
            path,
            _SHORTEST_SECRET,
        )
        raise UnavailableError("links cannot be signed")
    return secret


def _make_secret(path: Path) -> None:
    unseen = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(unseen, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        # It appears whole, and an earlier one stays.
        with contextlib.suppress(FileExistsError):
            os.link(unseen, path)
    finally:
        unseen.unlink()
