"""A load on a running service from another process, which records the outcome of every request.

``python -m tests.serving.load PORT CONNECTIONS RATE FILE [KEY]``: each connection sends RATE requests per second, one
after the other, until standard input is closed. Then FILE contains a JSON line for each request.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.conftest import ROOT
from tests.serving.running import RECORD


@dataclass(frozen=True)
class Request:
    """The outcome of one request, with the times (``time.time()``) when it was sent and answered.

    Attributes
    ----------
    status: 0 if the connection was closed.
    """

    sent: float
    answered: float
    status: int
    version: str = ""
    prediction_id: str = ""


@dataclass
class Load:
    """The outcome of a load, complete after its block."""

    requests: list[Request] = field(default_factory=list)

    @property
    def answered(self) -> list[Request]:
        """The requests with status 200."""
        return [request for request in self.requests if request.status == 200]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.requests) / (self.requests[-1].answered - self.requests[0].sent)


@contextlib.contextmanager
def load_on(
    port: int, file: Path, *, connections: int = 8, rate: float = 40.0, key: str | None = None
) -> Iterator[Load]:
    """Put a load on a service for the time of a block."""
    load = Load()
    words = [sys.executable, "-m", "tests.serving.load", str(port), str(connections), str(rate), str(file)]
    words += [key] if key else []
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdin
    try:
        assert process.stdout.readline() == "started\n"
        yield load
    finally:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(60) == 0
    load.requests = [Request(**json.loads(line)) for line in file.read_text().splitlines()]
    load.requests.sort(key=lambda request: request.sent)


def _send(port: int, pause: float, done: threading.Event, found: list[Request], key: list[str]) -> None:
    body, headers = json.dumps(RECORD).encode(), {"content-type": "application/json"}
    headers |= {"x-api-key": key[0]} if key else {}
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    while not done.is_set():
        sent = time.time()
        try:
            connection.request("POST", "/predict", body, headers)
            response = connection.getresponse()
            content = response.read()
            answered = time.time()
            answer = json.loads(content)
            version = answer["model"]["version"] if response.status == 200 else ""
            found.append(Request(sent, answered, response.status, version, answer.get("prediction_id", "")))
        except (OSError, HTTPException):
            found.append(Request(sent, time.time(), 0))
            connection.close()
        done.wait(max(0.0, pause - (time.time() - sent)))


def main() -> None:
    """Send until standard input is closed."""
    port, connections, rate, file = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    done, found = threading.Event(), list[Request]()
    threads = [
        threading.Thread(target=_send, args=(port, 1 / rate, done, found, sys.argv[5:])) for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    sys.stdin.read()
    done.set()
    for thread in threads:
        thread.join()
    file.write_text("".join(json.dumps(vars(request)) + "\n" for request in found))


if __name__ == "__main__":
    main()
