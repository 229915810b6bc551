"""Real service processes, started, asked and stopped by tests."""

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
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from ratchet.settings import Settings
from tests.conftest import ROOT

RECORD = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
_START = 90.0


@dataclass
class Service:
    """A running service.

    Attributes
    ----------
    process: its parent process, which leads a process group of its own.
    port: where it listens on loopback.
    output: what it has printed.
    """

    process: subprocess.Popen[bytes]
    port: int
    output: Path

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (in lower case) and body of one request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, given)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        """The JSON behind a path; 200 and 503 both have some."""
        return json.loads(self.ask("GET", path, **headers)[2])

    def post(self, path: str, value: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a POST; bytes are sent as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        status, _, answer = self.ask("POST", path, body, **{"content_type": "application/json", **headers})
        return status, json.loads(answer)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        text = self.ask("GET", "/metrics")[2].decode()
        total = 0.0
        for line in text.splitlines():
            found = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
            if found:
                has = dict(re.findall(r'(\w+)="([^"]*)"', found[1] or ""))
                if all(has.get(key) == value for key, value in labels.items()):
                    total += float(found[2])
        return total

    @property
    def workers(self) -> list[int]:
        """The process ids of the living workers."""
        return [worker["pid"] for worker in self.get("/health")["workers"]]

    @property
    def processes(self) -> list[int]:
        """The process ids of all that belongs to the service: parent, workers, relay."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:
                    found.append(int(stat.parent.name))
        return found

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for a condition, asked again and again; a service that does not answer has not met it yet."""
        wait_until(condition, seconds, lambda: self.output.read_text()[-4000:])

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """Ask it to end, and make sure that it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str] = lambda: "") -> None:
    """Wait for a condition; one that raises OSError has not come true yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come true within {seconds:g} s\n{otherwise()}")
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The variables that make a process use these settings."""
    env = {**os.environ, "RATCHET_HOME": str(settings.home), "RATCHET_MODELS_DIR": str(settings.models_dir)}
    if settings.database_url:
        env["RATCHET_DATABASE_URL"] = settings.database_url
    if settings.mlflow_uri:
        env["MLFLOW_TRACKING_URI"] = settings.mlflow_uri
    return {**env, "PYTHONUNBUFFERED": "1", **more}


@contextlib.contextmanager
def serving(
    settings: Settings, model: str | None, output: Path, *, ready: bool = True, bentoml: bool = False, **env: str
) -> Iterator[Service]:
    """A service of a model with two workers, stopped when the block ends.

    Parameters
    ----------
    settings: where its stores are.
    model: the registered model's name, None where the environment says what to serve.
    output: the file for what it prints.
    ready: wait until all workers answer.
    bentoml: start it by ``bentoml serve``, which goes without the hot path.
    env: more variables.
    """
    port = free_port()
    words = [sys.executable, str(ROOT / "run.py"), "serve", "--port", str(port), "--workers", "2"]
    if bentoml:
        script = str(Path(sys.executable).with_name("bentoml"))
        words = [script, "serve", "serving.service:Ratchet", "--port", str(port)]
    variables = environment(settings, **env)
    if model is not None:
        variables["RATCHET_SERVE_MODEL"] = model
    with output.open("ab") as file:
        process = subprocess.Popen(
            words, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    service = Service(process, port, output)
    try:
        if ready:
            service.until(lambda: _all_answer(service), _START)
        yield service
    finally:
        service.stop()


def _all_answer(service: Service) -> bool:
    assert service.process.poll() is None, f"it ended with status {service.process.returncode}"
    url = f"http://127.0.0.1:{service.port}/livez"
    with urllib.request.urlopen(url, timeout=5):
        pass
    status, _, body = service.ask("GET", "/health")
    if status in (401, 503):
        return status == 401 and service.ask("GET", "/readyz")[0] == 200
    workers = json.loads(body)["workers"]
    return not workers or (len(workers) == 2 and all(worker["version"] for worker in workers))
