"""Acknowledged predictions and feedback are kept: kill -9 under load, and a store that cannot be written."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.prediction_rows import PredictionRows
from ratchet.store.tables import feedback
from tests.fitted import Trained
from tests.locks import locked
from tests.serving.conftest import published
from tests.serving.feedback_rows import inserted
from tests.serving.load import Load, load_on
from tests.serving.request_cases import RECORD_BODY
from tests.serving.running import serving, wait_until


def lost(settings: Settings, load: Load) -> set[str]:
    """The predictions that were answered with 200 and are not in the store."""
    assert len(load.answered) > 100
    answered = {request.prediction_id for request in load.answered}
    assert len(answered) == len(load.answered)
    with open_store(settings).reading() as connection:
        return answered - PredictionRows(connection, "version").find_many(answered).keys()


@pytest.mark.slow
def test_no_answered_prediction_is_lost_when_a_worker_and_then_everything_is_killed(
    settings: Settings, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(settings, iris_models[0])
    with (
        serving(settings, pointer.model, output) as service,
        load_on(service.port, tmp_path / "load", connections=12, rate=100) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 200)
        first, second = service.workers
        os.kill(first, signal.SIGKILL)
        service.until(lambda: len(set(service.workers) - {first}) == 2)
        before = service.metric("ratchet_predictions_total")
        service.until(lambda: service.metric("ratchet_predictions_total") > before + 200)
        assert second in service.workers
        service.kill()
    assert lost(settings, load) == set()


@pytest.mark.slow
def test_a_store_that_is_locked_for_ten_seconds_loses_no_answer_and_no_row(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(served_settings, iris_models[0])
    with (
        serving(served_settings, pointer.model, output, RATCHET_LOG_PATIENCE="0.5") as service,
        load_on(service.port, tmp_path / "load", connections=4) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 50)
        with locked_for(served_settings, 10.0):
            service.until(lambda: service.get("/health")["status"] == "degraded")
            service.until(lambda: service.metric("ratchet_store_down") >= 1)
            before = service.metric("ratchet_requests_total", route="/predict", status="200")
            service.until(
                lambda: service.metric("ratchet_requests_total", route="/predict", status="200") > before + 200
            )
        service.until(lambda: service.get("/health")["status"] == "ok")
        wait_until(lambda: not list((served_settings.home / "journal").glob("*")), 30)
    assert {request.status for request in load.requests} == {200}
    assert lost(served_settings, load) == set()


@pytest.mark.slow
def test_strict_durability_answers_503_while_the_store_is_locked_and_keeps_what_it_acknowledged(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(served_settings, iris_models[0])
    strict = {"RATCHET_DURABILITY": "strict", "RATCHET_LOG_PATIENCE": "0.2"}
    with (
        serving(served_settings, pointer.model, output, **strict) as service,
        load_on(service.port, tmp_path / "load", connections=4) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 200)
        with locked_for(served_settings, 3.0):
            service.until(lambda: service.metric("ratchet_errors_total", kind="unavailable") > 0)
            assert service.request("POST", "/predict", b'{"sepal_length": 5.1}')[0] == 422
            status, headers, body = service.request("POST", "/predict", RECORD_BODY)
            assert (status, headers["retry-after"]) == (503, "1")
            assert not re.search(b"sqlite|postgres|psycopg", body.lower())
        service.until(lambda: service.request("POST", "/predict", RECORD_BODY)[0] == 200)
    assert {request.status for request in load.requests} == {200, 503}
    assert lost(served_settings, load) == set()


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["spill", "strict"])
def test_a_full_disk_refuses_predictions_and_loses_none(
    durability: str,
    tmp_path: Path,
    iris_models: tuple[Trained, Trained],
    output: Path,
) -> None:
    settings = Settings(home=tmp_path / "home", models_dir=tmp_path / "models")
    pointer = published(settings, iris_models[0])
    with (
        serving(settings, pointer.model, output, RATCHET_DURABILITY=durability, RATCHET_LOG_LEVEL="ERROR") as service,
        load_on(service.port, tmp_path / "load", connections=4) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 100)
        with full_disk(service.processes):
            service.until(lambda: service.metric("ratchet_errors_total", kind="unavailable") > 20)
            assert service.get("/health")["version"] == "1"
            assert service.request("GET", "/readyz")[0] == 200
        before = service.metric("ratchet_predictions_total")
        service.until(lambda: service.metric("ratchet_predictions_total") > before + 100)
        wait_until(lambda: not list((settings.home / "journal").glob("*")), 30)
    assert {request.status for request in load.requests} == {200, 503}
    assert lost(settings, load) == set()


class FeedbackClients:
    """Clients that each send feedback on their own predictions until they are stopped."""

    def __init__(self, port: int, ids: list[str], clients: int = 8) -> None:
        self.acknowledged: list[str] = []
        self._port = port
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(ids[at::clients],)) for at in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _send(self, ids: list[str]) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        for one in ids:
            body = json.dumps({"prediction_id": one, "target": "versicolor"}).encode()
            for _ in range(0 if self._stopped.is_set() else 2):  # repeated, as by a client that got no answer
                try:
                    connection.request("POST", "/feedback", body, {"content-type": "application/json"})
                    response = connection.getresponse()
                    response.read()
                except (OSError, HTTPException):
                    connection.close()
                    time.sleep(0.01)
                    continue
                if response.status in (200, 201):
                    self.acknowledged.append(one)


@pytest.mark.slow
def test_no_acknowledged_feedback_is_lost_or_duplicated_when_a_worker_and_then_everything_is_killed(
    settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    model = published(settings, iris_models[0]).model
    store = open_store(settings)
    ids = inserted(store, model, 8000)
    with serving(settings, model, output) as service:
        clients = FeedbackClients(service.port, ids)
        clients.start()
        wait_until(lambda: len(clients.acknowledged) > 300, 30)
        os.kill(service.workers[0], signal.SIGKILL)
        before = len(clients.acknowledged)
        wait_until(lambda: len(clients.acknowledged) > before + 300, 30)
        service.kill()
        clients.stop()
    with store.reading() as connection:
        rows = list(connection.scalars(sa.select(feedback.c.prediction_id).where(feedback.c.model == model)))
    store.engine.dispose()
    assert set(clients.acknowledged) <= set(rows)
    assert len(rows) == len(set(rows))
    assert len(set(clients.acknowledged)) < len(ids), "the service was killed while the clients were sending"


@contextmanager
def locked_for(settings: Settings, seconds: float) -> Iterator[None]:
    """Lock the store for the time of a block, and at least for this time."""
    with locked(settings):
        started = time.monotonic()
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - started)))  # the length of the fault is the test's subject


@contextmanager
def full_disk(pids: list[int]) -> Iterator[None]:
    """Prevent the files of processes from growing, as on a full disk."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    try:
        for pid, (_, hard) in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
