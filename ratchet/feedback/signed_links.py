"""Signed links to the form on which a person gives feedback on one prediction.

A token names one prediction, and expires. Anyone who has the link may give feedback, as with an API key.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import time
from pathlib import Path

from itsdangerous import SignatureExpired, URLSafeTimedSerializer

from ratchet.errors import StateError, UnavailableError
from ratchet.secret_strength import MIN_LENGTH
from ratchet.settings import Settings, prepare_home

logger = logging.getLogger(__name__)

# Tokens that are signed with the same secret for another purpose are not valid links.
_SALT = "ratchet.feedback.link"
_SIGNED = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
_FILE = "link.key"


class Links:
    """Creates and reads the tokens of links; without a secret, a local service generates one in its home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._secret = settings.link_secret.get_secret_value() if settings.link_secret else ""

    def token(self, prediction_id: str) -> tuple[str, float]:
        """Return a token for a prediction, and when it expires, in seconds since the epoch.

        Raises
        ------
        UnavailableError: the secret in the home cannot be read or created.
        """
        return str(self._serializer().dumps(prediction_id)), int(time.time()) + self._settings.link_lifetime

    def prediction_id(self, token: str) -> str:
        """Return the prediction that a token names.

        A token that was issued in the future, by a clock that was wrong, counts as issued now.

        Raises
        ------
        SignatureExpired: it has expired.
        BadSignature: it was not created with this secret.
        UnavailableError: the secret in the home cannot be read or created.
        """
        prediction, issued = self._serializer().loads(token, return_timestamp=True)
        age = time.time() - issued.timestamp()
        if age > self._settings.link_lifetime:
            raise SignatureExpired(
                f"the link expired {age - self._settings.link_lifetime:.0f} s ago", prediction, issued
            )
        return str(prediction)

    def _serializer(self) -> URLSafeTimedSerializer:
        self._secret = self._secret or _secret_of_home(self._settings)
        return URLSafeTimedSerializer(self._secret, salt=_SALT, signer_kwargs=_SIGNED)


def _secret_of_home(settings: Settings) -> str:
    path = settings.home / _FILE
    try:
        if not path.exists():
            _create_secret(prepare_home(settings) / _FILE)
        secret = path.read_text()
    except (OSError, UnicodeDecodeError, StateError) as error:
        logger.error("the secret of links, %s: %s", path, error)
        raise UnavailableError("links cannot be signed") from None
    # It is not replaced here: two processes that did so at once would each sign with their own.
    if len(secret.strip()) < MIN_LENGTH:
        logger.error(
            "the secret of links, %s, has fewer than %d characters and can be guessed; remove the file to create a new"
            " one",
            path,
            MIN_LENGTH,
        )
        raise UnavailableError("links cannot be signed")
    return secret


def _create_secret(path: Path) -> None:
    """Create the file with its whole content, unless another process has created it; only its owner can read it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink()
