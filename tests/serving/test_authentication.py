from __future__ import annotations

import time
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from ratchet.errors import ConfigError
from ratchet.settings import Settings, load_settings
from serving.authentication import ApiKeys
from serving.responses import reply_to_error

FIRST, SECOND = "first-key-of-the-tests", "second-key-öf-the-tests"


def keys(env: str = "production", *values: str, trusted: str = "") -> ApiKeys:
    return ApiKeys(Settings(home=Path("nowhere"), env=env, api_keys=values, trusted_proxies=trusted))


def header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode(), value.encode()


def test_a_local_service_without_keys_accepts_every_request() -> None:
    keys("local").authenticate([], None)
    keys("local").authenticate([header("x-api-key", "anything")], None)


def test_a_local_service_with_a_key_requires_it() -> None:
    keys("local", "short").authenticate([header("x-api-key", "short")], None)
    with pytest.raises(HTTPException):
        keys("local", "short").authenticate([], None)


@pytest.mark.parametrize("key", [FIRST, SECOND])
@pytest.mark.parametrize(
    ("name", "prefix"), [("x-api-key", ""), ("authorization", "Bearer "), ("authorization", "bearer ")]
)
def test_each_key_is_accepted_in_either_header(key: str, name: str, prefix: str) -> None:
    headers = [header("host", "x"), header(name, prefix + key), header("accept", "*/*")]
    keys("production", FIRST, SECOND).authenticate(headers, None)
    keys("production", FIRST, SECOND).authenticate([header("x-api-key", "wrong"), *headers], None)


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
        keys("production", FIRST, SECOND).authenticate([header(*pair) for pair in headers], None)
    reply = reply_to_error(caught.value)
    assert (reply.status, reply.kind) == (401, "key")
    assert reply.body == {"error": "an API key is needed: send X-API-Key, or Authorization: Bearer"}
    assert reply.headers == {"www-authenticate": 'Bearer realm="ratchet"'}


PROXY, CLIENT, LIAR = ("10.1.2.3", 4711), "192.0.2.7", "198.51.100.9"


def forwarded(*addresses: str) -> list[tuple[bytes, bytes]]:
    return [header("x-forwarded-for", address) for address in addresses]


@pytest.mark.parametrize("trusted", ["10.1.2.3", "10.0.0.0/8", "192.168.0.1, 10.1.0.0/16"])
def test_a_trusted_proxy_names_the_client(trusted: str) -> None:
    service = keys("production", FIRST, trusted=trusted)
    assert service.client(forwarded(CLIENT), PROXY) == CLIENT
    # Whatever the client itself sends stands before what the proxy adds.
    assert service.client(forwarded(f"{LIAR}, {CLIENT}"), PROXY) == CLIENT
    assert service.client(forwarded(LIAR, CLIENT), PROXY) == CLIENT
    assert service.client([], PROXY) == PROXY[0]


@pytest.mark.parametrize("trusted", ["", "10.1.2.4", "10.2.0.0/16"])
def test_what_others_forward_is_ignored(trusted: str) -> None:
    service = keys("production", FIRST, trusted=trusted)
    assert service.client(forwarded(LIAR), PROXY) == PROXY[0]
    assert service.client(forwarded(LIAR), None) is None


@pytest.mark.parametrize("wrong", ["proxy.example.com", "10.1.2.3/8", "*", "10.1.2"])
def test_a_proxy_that_is_no_address_or_network_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_TRUSTED_PROXIES", f"10.0.0.1,{wrong}")
    with pytest.raises(ConfigError, match=r"RATCHET_TRUSTED_PROXIES"):
        load_settings()


def test_refused_keys_are_logged_with_the_client_and_never_more_than_once_a_second(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    service = keys("production", FIRST, trusted="10.0.0.0/8")
    for _ in range(5):
        with pytest.raises(HTTPException):
            service.authenticate([header("x-api-key", "guessed"), *forwarded(CLIENT)], PROXY)
    now = 101.5
    with pytest.raises(HTTPException):
        service.authenticate([header("x-api-key", "guessed")], (LIAR, 1))
    service.authenticate([header("x-api-key", FIRST)], (LIAR, 1))
    lines = [(vars(record)["client"], vars(record)["refused"]) for record in caplog.records]
    assert lines == [(CLIENT, 1), (LIAR, 5)]
    assert "guessed" not in caplog.text
