"""Real service processes for tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from ratchet.settings import Settings
from tests.conftest import ROOT
from tests.process_groups import kill_group

RECORD = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
SERVICE = "serving.service:Ratchet"
# How the lines begin that the command prints while the service starts; its other lines are JSON.
NOTICES = ("starting ", "listening on ", "ready ", "ready: ")
_START = 90.0
# The answer to feedback on a prediction that the service has not moved into the store yet, and how long to repeat it.
_NOT_MOVED = b"may not be in the store yet"
_MOVE = 30.0


@dataclass
class Service:
    """A running service.

    Attributes
    ----------
    process: its parent process, which leads a process group of its own.
    port: where it listens on loopback.
    output: the file with its output.
    """

    process: subprocess.Popen[bytes]
    port: int
    output: Path

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers (in lower case) and body of one request on a new connection."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, given)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        """Return the JSON at a path, whatever the status."""
        return json.loads(self.request("GET", path, **headers)[2])

    def post(self, path: str, value: Any, **headers: str) -> tuple[int, Any]:
        """Return status and JSON of a POST request; bytes are sent unchanged.

        Feedback on a prediction that is not in the store yet is repeated, as a client does: on a busy machine a move
        of predictions may take longer than the service waits.
        """
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        deadline = time.monotonic() + _MOVE
        while True:
            status, _, content = self.request("POST", path, body, **{"content_type": "application/json", **headers})
            if status != 503 or _NOT_MOVED not in content or time.monotonic() > deadline:
                return status, json.loads(content)
            time.sleep(0.1)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the series of a metric that have these labels."""
        text = self.request("GET", "/metrics")[2].decode()
        total = 0.0
        for line in text.splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found:
                has = dict(re.findall(r'(\w+)="([^"]*)"', found[1] or ""))
                if all(has.get(key) == value for key, value in labels.items()):
                    total += float(found[2])
        return total

    @property
    def notices(self) -> list[str]:
        """What the command has printed for a person."""
        return [line for line in self.output.read_text().splitlines() if line.startswith(NOTICES)]

    @property
    def workers(self) -> list[int]:
        """The process ids of the living workers."""
        return [worker["pid"] for worker in self.get("/health")["workers"]]

    @property
    def processes(self) -> list[int]:
        """The process ids of parent and workers, also of those that BentoML starts in sessions of their own."""
        parents: dict[int, int] = {}
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                _, parent, group = stat.read_text().rpartition(")")[2].split()[:3]
                process = int(stat.parent.name)
                parents[process] = int(parent)
                if int(group) == self.process.pid:
                    found.append(process)
        for above in found:
            found += [process for process, parent_of in parents.items() if parent_of == above and process not in found]
        return found

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until a condition is true; it is false while the service does not answer."""
        wait_until(condition, seconds, lambda: self.output.read_text()[-4000:])

    def find(self, read: Callable[[], Any], is_right: Callable[[Any], bool]) -> Any:
        """Read a value until it is right, and return it: one that is read again may be another."""
        found: list[Any] = []

        def is_found() -> bool:
            found.append(read())
            return is_right(found[-1])

        self.until(is_found)
        return found[-1]

    def until_served(self, version: str) -> None:
        """Wait until both workers serve a version; either of them may get the next request."""
        self.until(lambda: [worker["version"] for worker in self.get("/health")["workers"]] == [version] * 2)

    def healthy(self) -> Any:
        """Wait until a worker reports that it is healthy, and return this report; another may not be so yet."""
        return self.find(lambda: self.get("/health"), lambda report: report["status"] == "ok")

    def kill(self) -> None:
        """Kill all processes: at once those of the command's group, then those in sessions of their own."""
        processes = self.processes
        os.killpg(self.process.pid, signal.SIGKILL)
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """Stop the service, and check that it stops."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        kill_group(self.process.pid)


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str] = lambda: "") -> None:
    """Wait until a condition is true; it is false while a service does not answer as expected."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError, HTTPException, KeyError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"the condition was not true within {seconds:g} s\n{otherwise()}")
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """Return the environment of a process that uses these settings."""
    env = {**os.environ, "RATCHET_HOME": str(settings.home), "RATCHET_MODELS_DIR": str(settings.models_dir)}
    if settings.database_url:
        env["RATCHET_DATABASE_URL"] = settings.database_url
    if settings.mlflow_uri:
        env["MLFLOW_TRACKING_URI"] = settings.mlflow_uri
    return {**env, "PYTHONUNBUFFERED": "1", **more}


@contextlib.contextmanager
def serving(
    settings: Settings, model: str | None, output: Path, *, ready: bool = True, bentoml: str | None = None, **env: str
) -> Iterator[Service]:
    """Run a service with two workers for the time of a block.

    Parameters
    ----------
    settings: of its stores.
    model: the name of the registered model; None if the environment selects it.
    output: the file for its output.
    ready: whether to wait until all workers answer.
    bentoml: the tag of a Bento, or `SERVICE`, to start by ``bentoml serve``, without the hot path.
    env: further variables.
    """
    port = free_port()
    words = [sys.executable, str(ROOT / "run.py"), "serve", "--port", str(port), "--workers", "2"]
    if bentoml:
        words = [str(Path(sys.executable).with_name("bentoml")), "serve", bentoml, "--port", str(port)]
    variables = environment(settings, **env)
    if model is not None:
        variables["RATCHET_SERVE_MODEL"] = model
    with output.open("ab") as file:
        process = subprocess.Popen(
            words,
            # A Bento has to bring its own code.
            cwd=ROOT if bentoml in (None, SERVICE) else output.parent,
            env=variables,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = Service(process, port, output)
    try:
        if ready:
            service.until(lambda: _all_answer(service), _START)
        yield service
    finally:
        service.stop()


def _all_answer(service: Service) -> bool:
    assert service.process.poll() is None, f"the service exited with status {service.process.returncode}"
    url = f"http://127.0.0.1:{service.port}/livez"
    with urllib.request.urlopen(url, timeout=5):
        pass
    status, _, body = service.request("GET", "/health")
    if status in (401, 503):
        return status == 401 and service.request("GET", "/readyz")[0] == 200
    workers = json.loads(body)["workers"]
    return not workers or (len(workers) == 2 and all(worker["version"] for worker in workers))
