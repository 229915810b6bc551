"""Acknowledged predictions and feedback are kept: kill -9 under load, and a store that cannot be written."""

from __future__ import annotations

import contextlib
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
from typing import NamedTuple, get_args

import pytest
import sqlalchemy as sa

from ratchet.settings import Durability, Settings
from ratchet.store.database import open_store
from ratchet.store.prediction_rows import PredictionRows
from ratchet.store.tables import feedback
from serving.journal_process import journal_of
from tests.conftest import new_database
from tests.fitted import Trained
from tests.homes import prepared
from tests.locks import locked
from tests.serving.conftest import published
from tests.serving.feedback_rows import inserted, predicted
from tests.serving.load import Load, load_on
from tests.serving.request_cases import RECORD_BODY
from tests.serving.running import RECORD, SERVICE, Service, serving, wait_until
from tests.serving.stored_rows import recover

# Each mode of durability on both databases.
MODES = [f"{database}-{mode}" for database in ("sqlite", "postgresql") for mode in get_args(Durability)]
SQLITE = [mode for mode in MODES if mode.startswith("sqlite")]
JSON = "application/json"


class Case(NamedTuple):
    """A home and its durability."""

    settings: Settings
    mode: Durability

    @property
    def env(self) -> dict[str, str]:
        return {"RATCHET_DURABILITY": self.mode}


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """A home whose store is on either database; no other service moves its rows."""
    database, mode = request.param.split("-")
    home = prepared(tmp_path / "home")
    url = new_database(request.getfixturevalue("postgres"), "durable") if database == "postgresql" else None
    return Case(Settings(home=home, models_dir=tmp_path / "models", database_url=url), mode)


def assert_no_answer_is_lost(settings: Settings, load: Load) -> None:
    """Each prediction that was answered with 200 has a row, with the version that answered."""
    assert len(load.answered) > 100
    versions = {request.prediction_id: request.version for request in load.answered}
    assert len(versions) == len(load.answered)
    store = open_store(settings)
    with store.reading() as connection:
        rows = PredictionRows(connection, "version").find_many(versions)
    store.engine.dispose()
    assert {prediction_id: row["version"] for prediction_id, row in rows.items()} == versions


def mover_of_home(service: Service, settings: Settings) -> int | None:
    """The process that moves the rows of a home's journal: the one that has opened its pipe."""
    pipe = str(journal_of(settings).mover_pipe.resolve())
    for pid in service.processes:
        with contextlib.suppress(OSError):
            if pipe in {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}:
                return pid
    return None


def next_mover(service: Service, settings: Settings, killed: list[int]) -> int:
    """Wait for the process that moves the rows after those that were killed."""
    return service.find(lambda: mover_of_home(service, settings), lambda mover: mover not in (None, *killed))


@pytest.mark.slow
@pytest.mark.parametrize("case", MODES, indirect=True)
def test_no_answered_prediction_is_lost_when_a_worker_and_then_everything_is_killed(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env) as service,
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
    recover(case.settings)
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", SQLITE, indirect=True)
def test_no_row_of_an_answered_batch_is_lost_when_everything_is_killed(
    case: Case, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    answered: list[str] = []
    with serving(case.settings, pointer.model, output, **case.env) as service:
        for number in range(1, 30):
            status, answer = service.post("/predict_batch", {"rows": [RECORD] * number})
            assert status == 200
            answered += [row["prediction_id"] for row in answer["predictions"]]
        service.kill()
    recover(case.settings)
    store = open_store(case.settings)
    with store.reading() as connection:
        rows = PredictionRows(connection, "features").find_many(answered)
    store.engine.dispose()
    assert {prediction_id: row["features"] for prediction_id, row in rows.items()} == dict.fromkeys(answered, RECORD)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sqlite-journal", "postgresql-journal"], indirect=True)
def test_under_bentoml_serve_a_worker_moves_rows_and_no_answered_prediction_is_lost_in_a_kill(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, bentoml=SERVICE, **case.env) as service,
        load_on(service.port, tmp_path / "load", connections=4, rate=60) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 200)
        assert service.post("/feedback", {"prediction_id": predicted(service), "correct": True})[0] == 201
        service.kill()
    recover(case.settings)
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sqlite-journal", "postgresql-journal"], indirect=True)
def test_no_answered_prediction_is_lost_or_refused_when_the_mover_is_killed_again_and_again(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env) as service,
        load_on(service.port, tmp_path / "load", connections=8, rate=60) as load,
    ):
        killed: list[int] = []
        for _ in range(5):
            mover = next_mover(service, case.settings, killed)
            os.kill(mover, signal.SIGKILL)
            killed.append(mover)
        service.until(
            lambda: service.post("/feedback", {"prediction_id": predicted(service), "correct": True})[0] == 201
        )
    assert journal_of(case.settings).segments() == []
    assert {request.status for request in load.requests} == {200}
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", MODES, indirect=True)
def test_no_answered_prediction_is_lost_when_the_parent_is_killed(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env) as service,
        load_on(service.port, tmp_path / "load", connections=8, rate=60) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 200)
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait(30)
        wait_until(lambda: service.processes == [], 40)
    recover(case.settings)
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", MODES, indirect=True)
def test_after_a_stop_under_load_every_answered_prediction_is_in_the_store(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env) as service,
        load_on(service.port, tmp_path / "load", connections=8, rate=60) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 200)
        service.stop()
    assert journal_of(case.settings).segments() == []
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sqlite-journal", "sqlite-spill"], indirect=True)
def test_a_store_that_is_locked_for_ten_seconds_loses_no_answer_and_no_row(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env, RATCHET_LOG_PATIENCE="0.5") as service,
        load_on(service.port, tmp_path / "load", connections=4) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 50)
        with locked_for(case.settings, 10.0):
            service.until(lambda: service.get("/health")["status"] == "degraded")
            service.until(lambda: service.metric("ratchet_store_down") >= 1)
            before = service.metric("ratchet_requests_total", route="/predict", status="200")
            service.until(
                lambda: service.metric("ratchet_requests_total", route="/predict", status="200") > before + 200
            )
        service.until(lambda: service.get("/health")["status"] == "ok")
    assert journal_of(case.settings).segments() == []
    assert {request.status for request in load.requests} == {200}
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sqlite-strict"], indirect=True)
def test_strict_durability_answers_503_while_the_store_is_locked_and_keeps_what_it_acknowledged(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env, RATCHET_LOG_PATIENCE="0.2") as service,
        load_on(service.port, tmp_path / "load", connections=4) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 200)
        with locked_for(case.settings, 3.0):
            service.until(lambda: service.metric("ratchet_errors_total", kind="unavailable") > 0)
            assert service.request("POST", "/predict", b'{"sepal_length": 5.1}')[0] == 422
            status, headers, body = service.request("POST", "/predict", RECORD_BODY)
            assert (status, headers["retry-after"]) == (503, "1")
            assert not re.search(b"sqlite|postgres|psycopg", body.lower())
        service.until(lambda: service.request("POST", "/predict", RECORD_BODY)[0] == 200)
    assert {request.status for request in load.requests} == {200, 503}
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", SQLITE, indirect=True)
def test_a_full_disk_refuses_predictions_and_loses_none(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env, RATCHET_LOG_LEVEL="ERROR") as service,
        load_on(service.port, tmp_path / "load", connections=4) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 100)
        with full_disk(service):
            service.until(lambda: service.metric("ratchet_errors_total", kind="unavailable") > 20)
            assert service.get("/health")["version"] == "1"
            assert service.request("GET", "/readyz")[0] == 200
        before = service.metric("ratchet_predictions_total")
        service.until(lambda: service.metric("ratchet_predictions_total") > before + 100)
        service.until(lambda: service.get("/health")["status"] == "ok")
    assert journal_of(case.settings).segments() == []
    assert {request.status for request in load.requests} == {200, 503}
    assert_no_answer_is_lost(case.settings, load)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sqlite-journal", "postgresql-journal"], indirect=True)
def test_feedback_at_once_is_recorded_at_full_load(
    case: Case, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(case.settings, iris_models[0])
    with (
        serving(case.settings, pointer.model, output, **case.env) as service,
        load_on(service.port, tmp_path / "load", connections=8, rate=1000) as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 1000)
        at_once, statuses = [], []
        for _ in range(100):
            value = {"prediction_id": predicted(service), "correct": True}
            at_once.append(service.request("POST", "/feedback", json.dumps(value).encode(), content_type=JSON)[0])
            # A refusal is temporary: the mover has a lower priority than everything else on this machine.
            statuses.append(at_once[-1] if at_once[-1] != 503 else service.post("/feedback", value)[0])
        link = service.post("/feedback/links", {"prediction_id": predicted(service)})[1]["url"]
        assert service.request("GET", link)[0] == 200
    assert statuses == [201] * 100
    assert at_once.count(201) >= 50
    assert_no_answer_is_lost(case.settings, load)


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
        with contextlib.closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
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
def full_disk(service: Service) -> Iterator[None]:
    """Prevent the files of a service's processes from growing, as on a full disk."""
    soft, hard = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE)
    limit_files(service.processes, (1, hard))
    try:
        yield
    finally:
        limit_files(service.processes, (soft, hard))  # also those that started meanwhile, which have inherited it


def limit_files(pids: list[int], limits: tuple[int, int]) -> None:
    """Limit the size of the files that processes write; some of them may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
