"""Checks of the secrets that the service accepts or signs with: length, variety, defaults, and repetition."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from urllib.parse import unquote, urlsplit

from ratchet.errors import ConfigError
from ratchet.settings import Settings

KEYS, LINK_SECRET = "RATCHET_API_KEYS", "RATCHET_LINK_SECRET"
MIN_LENGTH = 16
# Pairs of neighbours, without repetitions and sequences such as 3456. Random hexadecimal of 16 digits has 12 of them.
_MIN_PAIRS = 8
# Words of published defaults and examples, as they are found in any place of a secret, and as a word of their own.
_DEFAULTS = re.compile(
    "change[-_ .]?(?:me|this|it)|secret|passw(?:or)?d|default|example|sample|admin|qwert|letmein|welcome|dummy"
    "|placeholder|insecure|(?:your|my|the|api)[-_ .]?key|replace|keyboard|monkey|dragon"
    "|(?<![a-z0-9])(?:tests?|testing|demo|pass|todo|temp|local|root|user|guest)[0-9]*(?![a-z0-9])"
)
_GENERATE = "create one with: openssl rand -hex 24"

Named = tuple[str, str]


def check_secrets(settings: Settings) -> None:
    """Check API keys and link secret, and outside a local environment also that they cannot be guessed.

    Raises
    ------
    ConfigError: outside a local environment, a secret is missing or weak, or two are alike; in any environment, the
        link secret is too short.
    """
    keys = [(KEYS, key.get_secret_value()) for key in settings.api_keys]
    link = settings.link_secret.get_secret_value() if settings.link_secret else ""
    if settings.env == "local":
        if link:
            _check_length(LINK_SECRET, link)
        return
    if not keys:
        raise ConfigError(f"{KEYS}: RATCHET_ENV={settings.env} needs at least one API key, got none")
    if not link:
        raise ConfigError(f"{LINK_SECRET}: RATCHET_ENV={settings.env} needs one, got none; {_GENERATE}")
    own = [*keys, (LINK_SECRET, link)]
    for name, secret in own:
        check_strength(name, secret)
    _check_alike([*own, *_database_passwords(settings)])


def check_strength(name: str, secret: str) -> None:
    """Check that a secret is long and varied enough, and contains no word of published defaults.

    Parameters
    ----------
    name: the variable that holds it, for the message, which never contains the secret.
    secret: its value.

    Raises
    ------
    ConfigError: it can be guessed.
    """
    _check_length(name, secret)
    if found := _DEFAULTS.search(secret.lower()):
        raise ConfigError(f"{name}: a secret contains {found[0]!r}, which lists of defaults contain; {_GENERATE}")
    pairs = {pair for pair in pairwise(secret) if abs(ord(pair[0]) - ord(pair[1])) > 1}
    is_repetition = any(secret[length:] == secret[:-length] for length in range(1, len(secret) // 2 + 1))
    if len(pairs) < _MIN_PAIRS or is_repetition:
        raise ConfigError(f"{name}: a secret consists of repetitions or sequences and can be guessed; {_GENERATE}")


def _check_length(name: str, secret: str) -> None:
    if len(secret) < MIN_LENGTH:
        raise ConfigError(
            f"{name}: a secret needs at least {MIN_LENGTH} characters, one has {len(secret)}; {_GENERATE}"
        )


def _check_alike(secrets: Sequence[Named]) -> None:
    """Check that no two secrets are equal, or equal but for case or for what is added to one of them."""
    for (first, a), (second, b) in combinations(((name, value.casefold()) for name, value in secrets), 2):
        shorter, longer = sorted((a, b), key=len)
        if a == b or (len(shorter) >= MIN_LENGTH and shorter in longer):
            names = f"two keys of {first}" if first == second else f"{first} and {second}"
            raise ConfigError(f"{names} are equal or contain one another: one that leaks opens both; {_GENERATE}")


def _database_passwords(settings: Settings) -> Iterable[Named]:
    """The passwords of databases and of the MLflow server that this process knows, each once."""
    urls = {
        "RATCHET_DATABASE_URL": settings.database_url,
        "RATCHET_STUDY_URL": settings.study_url,
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
    }
    found = {name: unquote(urlsplit(url).password or "") for name, url in urls.items() if url and "@" in url}
    found |= {name: os.environ.get(name, "") for name in ("PGPASSWORD", "MLFLOW_TRACKING_PASSWORD")}
    # Several stores may be on one server, with one password.
    return {password: (name, password) for name, password in found.items() if password}.values()
