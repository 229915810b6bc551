from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serving.replies import RefusalError
from serving.requests import ClientLeftError, Receive, read_json_body

JSON = (b"content-type", b"application/json")
LEFT = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Sent:
    """What a client sends, message by message; then it says no more."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.left = list(messages)

    async def __call__(self) -> dict[str, Any]:
        if not self.left:
            await asyncio.Event().wait()
        return self.left.pop(0)


def read(receive: Receive, *headers: tuple[bytes, bytes], most: int = 10, timeout: float = 5.0) -> bytes:
    return asyncio.run(read_json_body(headers, receive, most, timeout))


def refusal(receive: Receive, *headers: tuple[bytes, bytes], **limits: Any) -> RefusalError:
    with pytest.raises(RefusalError) as caught:
        read(receive, *headers, **limits)
    return caught.value


@pytest.mark.parametrize("messages", [[part(b"0123456789")], [part(b"0123", more=True), part(b"456789")]])
def test_a_body_up_to_the_limit_is_read_whole(messages: list[dict[str, Any]]) -> None:
    assert read(Sent(*messages), JSON, (b"content-length", b"10")) == b"0123456789"


def test_an_empty_body_is_read() -> None:
    assert read(Sent(part(b"")), JSON) == b""
    assert read(Sent({"type": "http.request"}), JSON) == b""


def test_a_body_in_many_parts_is_read_in_their_order() -> None:
    parts = [part(b"%d" % number, more=True) for number in range(9)]
    assert read(Sent(*parts, part(b"")), JSON) == b"012345678"


@pytest.mark.parametrize("value", [b"application/json", b"Application/JSON", b"application/json; charset=utf-8"])
def test_json_may_be_called_so_in_any_way(value: bytes) -> None:
    assert read(Sent(part(b"{}")), (b"content-type", value)) == b"{}"


def test_who_does_not_name_a_type_is_taken_to_send_json() -> None:
    assert read(Sent(part(b"{}"))) == b"{}"


@pytest.mark.parametrize("value", [b"text/plain", b"", b"application/jsonp", b"text/json", b"\xff\xfe", b"x" * 5000])
def test_another_type_is_refused_before_the_body_is_read(value: bytes) -> None:
    sent = Sent(part(b"{}"))
    error = refusal(sent, (b"content-type", value))
    assert error.status == 415
    assert "expected application/json, got " in str(error)
    assert len(str(error)) < 200
    assert len(sent.left) == 1


@pytest.mark.parametrize("length", [b"11", b"1" + b"0" * 30, b"-1", b"ten", b""])
def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(length: bytes) -> None:
    sent = Sent(part(b"{}"))
    error = refusal(sent, JSON, (b"content-length", length))
    assert error.status == 413
    assert "larger than 10 bytes (RATCHET_MAX_BODY_BYTES)" in str(error)
    assert (b"connection", b"close") in error.headers
    assert len(sent.left) == 1


def test_a_body_that_turns_out_too_large_is_refused_at_that_point() -> None:
    assert refusal(Sent(part(b"0" * 11)), JSON).status == 413
    sent = Sent(*[part(b"0000", more=True) for _ in range(100)])
    assert refusal(sent, JSON).status == 413
    assert len(sent.left) == 97, "no more than the limit and a part is kept"


def test_a_body_that_says_less_than_it_is_is_refused_too() -> None:
    assert refusal(Sent(part(b"0" * 8, more=True), part(b"0" * 8)), JSON, (b"content-length", b"8")).status == 413


@pytest.mark.parametrize("messages", [[], [part(b"{", more=True)]])
def test_a_body_that_does_not_come_in_time_is_refused(messages: list[dict[str, Any]]) -> None:
    error = refusal(Sent(*messages), JSON, timeout=0.02)
    assert error.status == 408
    assert "within 0.02 s" in str(error)
    assert (b"connection", b"close") in error.headers


@pytest.mark.parametrize("messages", [[LEFT], [part(b"{", more=True), LEFT], [part(b"", more=True), LEFT]])
def test_nobody_is_answered_when_the_client_has_left(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(ClientLeftError):
        read(Sent(*messages), JSON)
