from __future__ import annotations

from pathlib import Path

import pytest

from ratchet.errors import ConfigError
from ratchet.settings import Settings
from serving.keys import Keys
from serving.replies import RefusalError, refuse

FIRST, SECOND = "first-key-of-the-tests", "second-key-öf-the-tests"


def keys(env: str = "production", *values: str) -> Keys:
    return Keys(Settings(home=Path("nowhere"), env=env, api_keys=values))


def header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode(), value.encode()


def test_without_keys_a_local_service_is_open() -> None:
    keys("local").require([])
    keys("local").require([header("x-api-key", "anything")])


@pytest.mark.parametrize("env", ["staging", "production"])
def test_any_other_service_needs_keys_that_are_secrets(env: str) -> None:
    with pytest.raises(ConfigError, match=f"RATCHET_API_KEYS: RATCHET_ENV={env} needs at least one API key, got none"):
        keys(env)
    with pytest.raises(ConfigError, match="RATCHET_API_KEYS: a key needs at least 16 characters") as caught:
        keys(env, FIRST, "short-secret")
    assert "short-secret" not in str(caught.value)
    keys(env, "x" * 16)


def test_a_local_service_that_has_a_key_asks_for_it() -> None:
    keys("local", "short").require([header("x-api-key", "short")])
    with pytest.raises(RefusalError):
        keys("local", "short").require([])


@pytest.mark.parametrize("key", [FIRST, SECOND])
@pytest.mark.parametrize(
    ("name", "prefix"), [("x-api-key", ""), ("authorization", "Bearer "), ("authorization", "bearer ")]
)
def test_each_key_lets_in_by_either_header(key: str, name: str, prefix: str) -> None:
    keys("production", FIRST, SECOND).require(
        [header("host", "x"), header(name, prefix + key), header("accept", "*/*")]
    )


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-api-key", "")],
        [("x-api-key", "wrong-key-of-the-tests")],
        [("x-api-key", FIRST[:-1])],
        [("x-api-key", FIRST + "x")],
        [("x-api-key", FIRST.upper())],
        [("x-api-key", f"Bearer {FIRST}")],
        [("x-api-key", f"{FIRST},{SECOND}")],
        [("authorization", FIRST)],
        [("authorization", f"Basic {FIRST}")],
        [("authorization", "Bearer ")],
        [("cookie", FIRST)],
    ],
)
def test_anything_else_is_refused_without_a_word_on_why(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(RefusalError) as caught:
        keys("production", FIRST, SECOND).require([header(*pair) for pair in headers])
    assert caught.value.status == 401
    assert str(caught.value) == "an API key is needed: send X-API-Key, or Authorization: Bearer"
    reply, kind = refuse(caught.value)
    assert (reply.status, kind) == (401, "key")
    assert (b"www-authenticate", b'Bearer realm="ratchet"') in reply.headers
    assert FIRST.encode() not in reply.body
