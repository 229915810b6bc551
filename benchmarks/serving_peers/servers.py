"""The sides that are measured: how each server is started, asked and stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from serving_peers.processor_time import processor_time

from ratchet.settings import Durability, Settings

PEERS = Path(__file__).resolve().parent
ROOT = PEERS.parent.parent
HOST = "127.0.0.1"
POLL = 0.02
START_TIMEOUT = 120.0
STOP_TIMEOUT = 15.0

RECORD = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
LABEL = "setosa"
# The durability of a service with its defaults, on SQLite.
DURABILITY = Settings(_env_file=None, durability=None, database_url=None).durability_mode
CLASSES = ("setosa", "versicolor", "virginica")
_FAST_UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Model:
    """A trained model: its registered name, what people call it, the joblib file, and the package's folder."""

    name: str
    title: str
    joblib: Path
    package: Path


@dataclass(frozen=True)
class Side:
    """One way to serve a model.

    Attributes
    ----------
    command: the words after ``python``, for a model, a port and a number of workers.
    path: where a record is sent to.
    labelled: whether its answer holds the class's name.
    body: the record as this server takes it.
    requirements: the environment that it needs, ``requirements-<name>.txt``; None for the development environment.
    variables: further environment variables.
    one_model: measured with the first model only; the second one changes nothing but the model's own time.
    """

    name: str
    command: Callable[[Model, int, int], tuple[str, ...]]
    path: str = "/predict"
    labelled: bool = True
    body: Any = None
    requirements: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    one_model: bool = False

    @property
    def asked(self) -> Any:
        """What is sent: the record, unless the server has a form of its own."""
        return self.body or RECORD


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes
    ----------
    start_s, start_cpu_s: seconds, and seconds of processor time, from its process's start to its first right answer.
    """

    port: int
    pid: int
    start_s: float
    start_cpu_s: float

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time of its processes since its start."""
        return processor_time(self.pid)

    def url(self, path: str) -> str:
        """The address of a path on it."""
        return f"http://{HOST}:{self.port}{path}"


def _uvicorn(app: str, *options: str) -> Callable[[Model, int, int], tuple[str, ...]]:
    def command(model: Model, port: int, workers: int) -> tuple[str, ...]:
        where = ("--app-dir", str(PEERS), "--host", HOST, "--port", str(port), "--workers", str(workers))
        return ("-m", "uvicorn", app, *where, *options)

    return command


def _mlflow(model: Model, port: int, workers: int) -> tuple[str, ...]:
    where = ("-m", str(model.package), "-h", HOST, "-p", str(port), "-w", str(workers))
    return ("-m", "mlflow", "models", "serve", "--env-manager", "local", *where)


def _bentoml(model: Model, port: int, workers: int) -> tuple[str, ...]:
    where = ("--working-dir", str(PEERS), "--host", HOST, "--port", str(port))
    return ("-m", "bentoml", "serve", "bentoml_quickstart:Iris", *where)


def _ratchet(model: Model, port: int, workers: int) -> tuple[str, ...]:
    where = ("--model", model.name, "--port", str(port), "--workers", str(workers))
    return (str(ROOT / "run.py"), "serve", *where)


def _granian(model: Model, port: int, workers: int) -> tuple[str, ...]:
    where = ("--host", HOST, "--port", str(port), "--workers", str(workers))
    quiet = ("--loop", "uvloop", "--no-access-log", "--log-level", "warning")
    return ("-m", "granian", "--interface", "rsgi", *where, *quiet, "granian_onnx:app")


def _litserve(model: Model, port: int, workers: int) -> tuple[str, ...]:
    return (str(PEERS / "litserve_onnx.py"), "--port", str(port), "--workers", str(workers))


def _mlserver(model: Model, port: int, workers: int) -> tuple[str, ...]:
    return (str(PEERS / "mlserver_onnx.py"), "--port", str(port))


_TENSOR = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [list(RECORD.values())]}

SIDES = {
    "fastapi": Side("FastAPI + joblib", _uvicorn("fastapi_joblib:app")),
    "mlflow": Side("MLflow models serve", _mlflow, path="/invocations", body={"dataframe_records": [RECORD]}),
    "bentoml": Side("BentoML quickstart", _bentoml),
    "fastapi_onnx": Side("FastAPI + ONNX", _uvicorn("fastapi_onnx:app", *_FAST_UVICORN)),
    "litserve": Side("LitServe + ONNX", _litserve, requirements="litserve", one_model=True),
    "mlserver": Side(
        "MLServer + ONNX",
        _mlserver,
        path="/v2/models/iris/infer",
        body={"inputs": [_TENSOR]},
        requirements="mlserver",
        one_model=True,
    ),
    "granian": Side("granian + ONNX", _granian, requirements="granian", one_model=True),
    "onnx": Side("Starlette + ONNX, floor", _uvicorn("starlette_onnx:app", *_FAST_UVICORN)),
    "empty": Side("Starlette, empty answer", _uvicorn("empty:app", *_FAST_UVICORN), labelled=False, one_model=True),
    "ratchet": Side("Ratchet", _ratchet),
    **{
        f"ratchet_{mode}": Side(
            f"Ratchet, durability {mode}", _ratchet, variables={"RATCHET_DURABILITY": mode}, one_model=True
        )
        for mode in get_args(Durability)
        if mode != DURABILITY
    },
}
# The peers that answer with the pipeline itself.
PEER_KEYS = ("fastapi", "mlflow", "bentoml")


@contextmanager
def serving(
    side: Side,
    model: Model,
    workers: int,
    environment: Mapping[str, str],
    scratch: Path,
    python: Path = Path(sys.executable),
) -> Iterator[Server]:
    """Start a server, yield it when it has given the right answer, and stop it in any case.

    Raises
    ------
    RuntimeError: it ended, did not answer in time, or answered with the wrong class.
    """
    port = _free_port()
    log = scratch / f"{side.name.split()[0].lower()}.log"
    if side.requirements:
        environment = {**environment, "PYTHONPATH": str(PEERS)}
    own = {
        "BENCH_WORKERS": str(workers),
        "BENCH_JOBLIB": str(model.joblib),
        "BENCH_ONNX": str(model.package / "model.onnx"),
    }
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            (str(python), *side.command(model, port, workers)),
            cwd=scratch,
            env={**environment, **own, **side.variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        answer = _first_answer(process, side, port, log)
        server = Server(port, process.pid, time.perf_counter() - started, processor_time(process.pid))
        if side.labelled:
            check_labels(answer, [LABEL], side.name)
        yield server
    finally:
        _stop(process)


def post(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    """Send JSON to a server on this machine; its status and its answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check_labels(answer: bytes, expected: list[str], who: str) -> None:
    """Check that an answer holds these labels, in this order, under one name wherever it may be.

    Raises
    ------
    RuntimeError: it does not.
    """
    found: dict[str, list[str]] = {}
    _gather(json.loads(answer), "", found)
    if expected not in found.values():
        raise RuntimeError(f"{who}: expected {expected[:3]}, got {answer[:400]!r}")


def _gather(value: Any, name: str, found: dict[str, list[str]]) -> None:
    """Collect the class names among an answer's values by the key that they stand under."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _gather(inner, key, found)
    elif isinstance(value, list):
        for inner in value:
            _gather(inner, name, found)
    elif value in CLASSES:
        found.setdefault(name, []).append(value)


def _first_answer(process: subprocess.Popen[bytes], side: Side, port: int, log: Path) -> bytes:
    body, last = json.dumps(side.asked).encode(), "no answer"
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            status, answer = post(port, side.path, body)
            if status == 200:
                return answer
            last = f"status {status}: {answer[:400]!r}"
        time.sleep(POLL)
    why = last if process.returncode is None else f"ended with status {process.returncode}"
    raise RuntimeError(f"{side.name}: {why}\n{log.read_text(errors='replace')[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: politely, then for certain."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
