"""HTTP/1.1 over a socket, for requests that no client library sends."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from tests.serving.running import RECORD

BODY = json.dumps(RECORD).encode()


@dataclass
class Answer:
    """One response; headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


class RawConnection:
    """A connection to a service."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file: IO[bytes] = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes; an error is ignored, since the service may refuse and close before all are sent."""
        with suppress(ConnectionError):
            self.socket.sendall(data)

    def answer(self, *, head: bool = False) -> Answer:
        """Return the next response; the connection must not end before it."""
        found = self._next(head=head)
        assert found is not None, "the connection ended without a response"
        return found

    def answers(self) -> list[Answer]:
        """Return all responses until the end of the connection."""
        return list(iter(self._next, None))

    def _next(self, *, head: bool = False) -> Answer | None:
        try:
            line = self._file.readline()
            if not line:
                return None
            headers = {}
            while text := self._file.readline().decode().rstrip("\r\n"):
                name, _, value = text.partition(": ")
                headers[name.lower()] = value
            length = 0 if head else int(headers.get("content-length", 0))
            return Answer(int(line.split()[1]), headers, self._file.read(length))
        except ConnectionError:
            return None

    def closed(self) -> bool:
        """Wait for the end of the connection; False if bytes come before it."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self.socket.close()


@contextmanager
def connected(port: int, timeout: float = 30.0) -> Iterator[RawConnection]:
    """Connect for the time of a block."""
    connection = RawConnection(port, timeout)
    try:
        yield connection
    finally:
        connection.close()


def post(body: bytes = BODY, path: str = "/predict", **headers: str) -> bytes:
    """Return a POST request."""
    return request("POST", path, body, content_type="application/json", content_length=str(len(body)), **headers)


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request, without a content length of its own."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
