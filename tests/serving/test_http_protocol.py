from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ratchet.settings import Settings
from serving.connection_table import ConnectionTable, Limits
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.raw_http import BODY, RawConnection, connected, post, request
from tests.serving.running import Service, serving

LIMIT = 16 * 2**10
H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAEAAEAAAAIAAAABAAMAAABk"}
CHUNKED = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (20, BODY[:20], len(BODY) - 20, BODY[20:])
GET_LIVEZ = request("GET", "/livez")


def head_of(size: int, method: str = "GET", path: str = "/livez", **headers: str) -> bytes:
    """A request without a body whose head has a number of bytes."""
    bare = request(method, path, pad="", **headers)
    return request(method, path, pad="x" * (size - len(bare)), **headers)


def statuses(port: int, *segments: bytes, answers: int) -> list[int]:
    """The statuses of the answers to segments, each sent when another connection has been answered."""
    with connected(port) as connection:
        for segment in segments:
            connection.send(segment)
            with connected(port) as other:
                other.send(GET_LIVEZ)
                assert other.answer().status == 200
        return [connection.answer().status for _ in range(answers)]


def refused(port: int, data: bytes, status: int) -> str:
    """Check that bytes are refused with a JSON error that closes the connection, and return the error."""
    with connected(port) as connection:
        connection.send(data)
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert connection.closed()
    return str(answer.json["error"])


# Changes of the protocol


@pytest.mark.parametrize(
    "segments",
    [
        [post(**H2C)],
        [post(b"", **H2C).replace(b"content-length: 0", b"content-length: %d" % len(BODY)), BODY],
        [post(**H2C)[:-10], post(**H2C)[-10:]],
        [post(**H2C)[:60], post(**H2C)[60:]],
        [request("POST", "/predict", CHUNKED, content_type="application/json", transfer_encoding="chunked", **H2C)],
        [post(**{**H2C, "connection": "upgrade", "upgrade": "websocket"})],
    ],
    ids=["one segment", "two segments", "split body", "split head", "chunked", "websocket"],
)
def test_a_request_that_asks_for_another_protocol_is_answered_by_http_1_1(
    service: Service, segments: list[bytes]
) -> None:
    assert statuses(service.port, *segments, answers=1) == [200]


@pytest.mark.parametrize("path", ["/livez", "/health", "/model"])
def test_on_every_path_a_request_for_another_protocol_is_answered_and_so_are_those_behind_it(
    service: Service, path: str
) -> None:
    asks = request("GET", path, **H2C)
    assert statuses(service.port, asks + post(**H2C) + asks + post(), answers=4) == [200] * 4


def test_a_request_for_another_protocol_may_ask_to_close(service: Service) -> None:
    with connected(service.port) as connection:
        connection.send(post(**{**H2C, "connection": "Upgrade, HTTP2-Settings, close"}))
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.closed()


# Limits


def test_a_head_up_to_the_limit_is_accepted(service: Service) -> None:
    assert statuses(service.port, head_of(LIMIT), answers=1) == [200]
    assert statuses(
        service.port, head_of(LIMIT, "POST", "/predict", content_length=str(len(BODY))) + BODY, answers=1
    ) == [200]


@pytest.mark.parametrize(
    "data",
    [
        head_of(LIMIT + 1),
        head_of(LIMIT + 1, "POST", "/predict"),
        head_of(LIMIT + 100)[:-4],
        b"GET /" + b"x" * 2**20,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50_000,
        b"GET / HTTP/1.1\r\n" + b"x" * 2**20,
        b"\r\n" * LIMIT,
        request("POST", "/predict", CHUNKED[:-2], transfer_encoding="chunked") + b"x: " + b"y" * 2 * LIMIT,
        request("POST", "/predict", b"5;" + b"x" * 2 * LIMIT, transfer_encoding="chunked"),
    ],
    ids=["head", "POST", "unfinished", "line", "headers", "name", "empty lines", "trailer", "chunk extension"],
)
def test_bytes_beyond_the_limit_that_make_no_request_are_refused(service: Service, data: bytes) -> None:
    with connected(service.port) as connection:
        connection.send(data)
        answers = [answer.status for answer in connection.answers()]
    assert answers == [431] or (b"chunked" in data and answers == [])


def test_the_number_of_headers_is_limited(service: Service) -> None:
    many = {f"x_{number}": "1" for number in range(99)}
    assert statuses(service.port, request("GET", "/livez", **many), answers=1) == [200]
    error = refused(service.port, request("GET", "/livez", **many, x_99="1"), 431)
    assert error == "more than 100 headers"
    refused(service.port, request("POST", "/predict", **many, x_99="1"), 431)


def test_a_limit_counts_each_request_of_a_connection_anew(service: Service) -> None:
    head = head_of(LIMIT - 100)
    assert statuses(service.port, *[head] * 3, answers=3) == [200] * 3
    assert statuses(service.port, head * 3, post() * 100 + head, answers=104) == [200] * 104


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(service: Service, data: bytes) -> None:
    assert refused(service.port, data, 400) == "not a valid HTTP request"


# Requests


def test_a_request_may_come_byte_by_byte(service: Service) -> None:
    with connected(service.port) as connection:
        for byte in post():
            connection.send(bytes([byte]))
        answer = connection.answer()
    assert answer.json["prediction"] == "setosa"


def test_pipelined_requests_are_answered_in_their_order(service: Service) -> None:
    batch = json.dumps({"rows": [json.loads(BODY)] * 3}).encode()
    kinds = [
        (post(), 200, "prediction"),
        (post(batch, "/predict_batch"), 200, "predictions"),
        (request("GET", "/model"), 200, "task"),
        (post(b"{}"), 422, "details"),
        (post(b"{}", "/feedback"), 422, "details"),
        (post(origin="http://localhost"), 200, "prediction"),
        (request("POST", "/predict", CHUNKED, transfer_encoding="chunked"), 200, "prediction"),
    ]
    with connected(service.port) as connection:
        connection.send(b"".join(data for data, _, _ in kinds * 5))
        for _, status, key in kinds * 5:
            answer = connection.answer()
            assert answer.status == status
            assert key in answer.json


def test_many_pipelined_requests_are_answered(service: Service) -> None:
    assert statuses(service.port, post() * 500, answers=500) == [200] * 500


def test_many_requests_may_wait_for_the_answer_to_a_slow_one(service: Service) -> None:
    with connected(service.port) as connection:
        for data in [post(path="/explain"), *[post()] * 200]:
            connection.send(data)
        assert [connection.answer().status for _ in range(201)] == [200] * 201


def test_more_requests_than_a_connection_may_pipeline_end_it_after_its_answers(service: Service) -> None:
    with connected(service.port) as connection:
        connection.send(post() + b"GET /livez HTTP/1.1\r\n\r\n" * 10_000)
        first, *others = [answer.status for answer in connection.answers()]
    assert (first, set(others)) == (200, {200})
    assert len(others) < 1000


@pytest.mark.parametrize(
    "asked",
    [post(b"", "/feedback", pad="x" * 100), request("GET", "/livez", pad="x" * 100)],
    ids=["answered by the protocol", "answered by the application"],
)
def test_requests_wait_until_the_client_has_read_the_answers(service: Service, asked: bytes) -> None:
    number = 2**27 // len(asked)  # many times what the buffers of the kernel hold
    with connected(service.port, timeout=2.0) as connection:
        with pytest.raises(TimeoutError):  # the service reads no more, instead of keeping the answers
            connection.socket.sendall(asked * number)
        connection.socket.settimeout(30)
        first = connection.answer()
        assert all(connection.answer().status == first.status for _ in range(1000))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_that_its_client_does_not_keep_is_closed(service: Service, version: str) -> None:
    with connected(service.port) as connection:
        connection.send(post(connection="close").replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.closed()


def test_a_client_that_waits_for_it_is_asked_to_continue(service: Service) -> None:
    with connected(service.port) as connection:
        connection.send(post(expect="100-continue")[: -len(BODY)])
        interim = connection.answer()
        assert interim.status == 100
        connection.send(BODY)
        answer = connection.answer()
    assert answer.status == 200


def test_a_head_request_has_no_body(service: Service) -> None:
    with connected(service.port) as connection:
        connection.send(request("HEAD", "/health") + post())
        assert connection.answer(head=True).status == 200
        assert connection.answer().status == 200


def test_a_connection_goes_on_after_a_refused_request_and_its_body(service: Service) -> None:
    with connected(service.port) as connection:
        connection.send(post(b"x" * 100_000).replace(b"application/json", b"text/csv"))
        connection.send(post())
        found = [connection.answer().status, connection.answer().status]
    assert found == [415, 200]


# Times and connections


@pytest.fixture(scope="module")
def strict(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with short times and few connections."""
    pointer = published(served_settings, iris_models[0])
    limits = {
        "RATCHET_HEADER_TIMEOUT": "1",
        "RATCHET_IDLE_TIMEOUT": "2",
        "RATCHET_REQUEST_TIMEOUT": "2",
        "RATCHET_MAX_CONNECTIONS": "40",
        "RATCHET_MAX_HEADER_BYTES": "2048",
        "RATCHET_MAX_HEADERS": "20",
    }
    output = tmp_path_factory.mktemp("strict") / "output"
    with serving(served_settings, pointer.model, output, **limits) as service:
        yield service


@pytest.mark.parametrize("data", [b"GET", post()[:30], post()[: -len(BODY) - 2], post() + b"GET"])
def test_unfinished_headers_are_refused_in_time(strict: Service, data: bytes) -> None:
    with connected(strict.port) as connection:
        connection.send(data)
        if data.startswith(post()):
            connection.answer()
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert answer.json["error"] == "the headers did not arrive within 1 s"
        assert connection.closed()


def test_a_connection_without_a_request_is_closed(strict: Service) -> None:
    with connected(strict.port) as silent, connected(strict.port) as kept:
        kept.send(post())
        assert kept.answer().status == 200
        assert silent.closed()
        assert kept.closed()


@pytest.mark.parametrize("path", ["/predict", "/explain", "/livez"])
def test_a_body_that_does_not_arrive_ends_the_connection(strict: Service, path: str) -> None:
    with connected(strict.port) as connection:
        connection.send(post(path=path)[:-1])
        answer = connection.answer()
        assert answer.status in (408, 405, 200)
        assert connection.closed()


def test_the_settings_set_the_limits(strict: Service) -> None:
    assert refused(strict.port, head_of(2049), 431) == "the headers are larger than 2048 bytes"
    many = {f"x_{number}": "1" for number in range(20)}
    assert refused(strict.port, request("GET", "/livez", **many), 431) == "more than 20 headers"


def test_idle_connections_beyond_the_limit_give_way(strict: Service) -> None:
    idle = [RawConnection(strict.port) for _ in range(200)]
    try:
        assert statuses(strict.port, GET_LIVEZ, post(), answers=2) == [200, 200]
    finally:
        for connection in idle:
            connection.close()


def test_connections_that_gave_way_leave_no_open_file(strict: Service) -> None:
    def files() -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in strict.workers)

    before = files()
    unfinished = [RawConnection(strict.port) for _ in range(200)]
    try:
        for connection in unfinished:
            connection.send(post()[:-1])
        assert statuses(strict.port, post(), answers=1) == [200]
        strict.until(lambda: files() <= before + 5)
    finally:
        for connection in unfinished:
            connection.close()


class Connection:
    def __init__(self, waiting_since: float | None) -> None:
        self.waiting_since = waiting_since
        self.deadline = 0.0
        self.closed = False

    def expire(self) -> None:
        self.closed = True

    def give_way(self) -> None:
        self.closed = True

    def drain(self) -> None:
        self.closed = True


def table(connections: int) -> ConnectionTable:
    return ConnectionTable(replace(Limits.of_worker(Settings(workers=1)), connections=connections))


def test_the_connection_that_has_waited_longest_gives_way_and_none_with_a_request() -> None:
    group = table(3)
    busy, late, later = Connection(None), Connection(2.0), Connection(1.0)
    assert [group.add(each) for each in (busy, late, later)] == [True] * 3
    assert group.add(Connection(3.0))
    assert (busy.closed, late.closed, later.closed) == (False, False, True)
    assert len(group) == 3


def test_a_connection_is_refused_if_all_others_have_a_request() -> None:
    group = table(2)
    assert group.add(Connection(None))
    assert group.add(Connection(None))
    assert not group.add(Connection(1.0))
    assert not group.is_overfull
    for _ in range(100):
        group.add(Connection(None))
    assert group.is_overfull


def test_each_worker_has_an_equal_share_of_the_connections() -> None:
    assert Limits.of_worker(Settings(workers=3, max_connections=100)).connections == 34
