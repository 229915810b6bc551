from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serving.request_body import read_body

JSON = (b"content-type", b"application/json")
DISCONNECT = {"type": "http.disconnect"}
CLOSE = {"connection": "close"}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Messages:
    """The messages of a client, which then waits for ever."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.left = list(messages)

    async def __call__(self) -> dict[str, Any]:
        if not self.left:
            await asyncio.Event().wait()
        return self.left.pop(0)


def read(receive: Receive, *headers: tuple[bytes, bytes], limit: int = 10, timeout: float = 5.0) -> bytes:
    return asyncio.run(read_body(headers, receive, limit, timeout))


def refusal(receive: Receive, *headers: tuple[bytes, bytes], **limits: Any) -> HTTPException:
    with pytest.raises(HTTPException) as caught:
        read(receive, *headers, **limits)
    return caught.value


@pytest.mark.parametrize("messages", [[part(b"0123456789")], [part(b"0123", more=True), part(b"456789")]])
def test_a_body_up_to_the_limit_is_read(messages: list[dict[str, Any]]) -> None:
    assert read(Messages(*messages), JSON, (b"content-length", b"10")) == b"0123456789"


def test_an_empty_body_is_read() -> None:
    assert read(Messages(part(b"")), JSON) == b""
    assert read(Messages({"type": "http.request"}), JSON) == b""


def test_a_body_in_many_parts_is_read_in_their_order() -> None:
    parts = [part(b"%d" % number, more=True) for number in range(9)]
    assert read(Messages(*parts, part(b"")), JSON) == b"012345678"


@pytest.mark.parametrize("value", [b"application/json", b"Application/JSON", b"application/json; charset=utf-8"])
def test_the_media_type_may_differ_in_case_and_have_parameters(value: bytes) -> None:
    assert read(Messages(part(b"{}")), (b"content-type", value)) == b"{}"


def test_a_body_without_a_content_type_is_taken_as_json() -> None:
    assert read(Messages(part(b"{}"))) == b"{}"


@pytest.mark.parametrize("value", [b"text/plain", b"", b"application/jsonp", b"text/json", b"\xff\xfe", b"x" * 5000])
def test_another_media_type_is_refused_before_the_body_is_read(value: bytes) -> None:
    messages = Messages(part(b"{}"))
    error = refusal(messages, (b"content-type", value))
    assert error.status_code == 415
    assert "expected application/json, got " in error.detail
    assert len(error.detail) < 200
    assert len(messages.left) == 1


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"deflate, gzip", b"\xff", b"x" * 5000])
def test_a_compressed_body_is_refused_before_it_is_read(coding: bytes) -> None:
    messages = Messages(part(b"{}"))
    error = refusal(messages, JSON, (b"content-encoding", coding))
    assert (error.status_code, error.headers) == (415, {"accept-encoding": "identity"})
    assert len(error.detail) < 200
    assert len(messages.left) == 1
    assert read(messages, JSON, (b"content-encoding", b" Identity")) == b"{}"


@pytest.mark.parametrize("length", [b"11", b"1" + b"0" * 30, b"-1", b"ten", b""])
def test_a_content_length_above_the_limit_is_refused_before_the_body_is_read(length: bytes) -> None:
    messages = Messages(part(b"{}"))
    error = refusal(messages, JSON, (b"content-length", length))
    assert (error.status_code, error.headers) == (413, CLOSE)
    assert "larger than 10 bytes (RATCHET_MAX_BODY_BYTES)" in error.detail
    assert len(messages.left) == 1


def test_a_body_above_the_limit_is_refused_as_soon_as_it_exceeds_it() -> None:
    assert refusal(Messages(part(b"0" * 11)), JSON).status_code == 413
    messages = Messages(*[part(b"0000", more=True) for _ in range(100)])
    assert refusal(messages, JSON).status_code == 413
    assert len(messages.left) == 97, "no more is kept than the limit and one part"


def test_a_body_longer_than_its_content_length_is_refused_too() -> None:
    messages = Messages(part(b"0" * 8, more=True), part(b"0" * 8))
    assert refusal(messages, JSON, (b"content-length", b"8")).status_code == 413


@pytest.mark.parametrize("messages", [[], [part(b"{", more=True)]])
def test_a_body_that_does_not_arrive_in_time_is_refused(messages: list[dict[str, Any]]) -> None:
    error = refusal(Messages(*messages), JSON, timeout=0.02)
    assert (error.status_code, error.headers) == (408, CLOSE)
    assert "within 0.02 s" in error.detail


@pytest.mark.parametrize(
    "messages", [[DISCONNECT], [part(b"{", more=True), DISCONNECT], [part(b"", more=True), DISCONNECT]]
)
def test_a_disconnect_ends_the_request(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(ClientDisconnect):
        read(Messages(*messages), JSON)
