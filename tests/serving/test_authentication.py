from __future__ import annotations

from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from ratchet.settings import Settings
from serving.authentication import ApiKeys
from serving.responses import reply_to_error

FIRST, SECOND = "first-key-of-the-tests", "second-key-öf-the-tests"


def keys(env: str = "production", *values: str) -> ApiKeys:
    return ApiKeys(Settings(home=Path("nowhere"), env=env, api_keys=values))


def header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode(), value.encode()


def test_a_local_service_without_keys_accepts_every_request() -> None:
    keys("local").authenticate([])
    keys("local").authenticate([header("x-api-key", "anything")])


def test_a_local_service_with_a_key_requires_it() -> None:
    keys("local", "short").authenticate([header("x-api-key", "short")])
    with pytest.raises(HTTPException):
        keys("local", "short").authenticate([])


@pytest.mark.parametrize("key", [FIRST, SECOND])
@pytest.mark.parametrize(
    ("name", "prefix"), [("x-api-key", ""), ("authorization", "Bearer "), ("authorization", "bearer ")]
)
def test_each_key_is_accepted_in_either_header(key: str, name: str, prefix: str) -> None:
    headers = [header("host", "x"), header(name, prefix + key), header("accept", "*/*")]
    keys("production", FIRST, SECOND).authenticate(headers)
    keys("production", FIRST, SECOND).authenticate([header("x-api-key", "wrong"), *headers])


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
def test_other_headers_are_refused_with_the_same_message(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(HTTPException) as caught:
        keys("production", FIRST, SECOND).authenticate([header(*pair) for pair in headers])
    reply = reply_to_error(caught.value)
    assert (reply.status, reply.kind) == (401, "key")
    assert reply.body == {"error": "an API key is needed: send X-API-Key, or Authorization: Bearer"}
    assert reply.headers == {"www-authenticate": 'Bearer realm="ratchet"'}
