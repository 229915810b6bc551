"""What a client was told is kept: kill -9 under load, and a store that cannot be written."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.store.tables import predictions
from tests.fitted import Trained
from tests.locks import locked
from tests.serving.conftest import published
from tests.serving.load import Load, load_on
from tests.serving.running import RECORD, Service, serving, wait_until


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    name = "served_settings" if request.param == "sqlite" else "served_on_postgresql"
    found: Settings = request.getfixturevalue(name)
    return found


def kept(store: Store) -> set[str]:
    with store.reading() as connection:
        return set(connection.scalars(sa.select(predictions.c.id)))


def lost(settings: Settings, load: Load) -> set[str]:
    """The predictions that a client has a 200 for and that are not in the store."""
    assert len(load.answered) > 100
    store = open_store(settings)
    told = {request.prediction_id for request in load.answered}
    assert len(told) == len(load.answered)
    return told - kept(store)


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
def test_a_store_that_is_locked_for_ten_seconds_costs_no_answer_and_no_row(
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
            status, headers, body = service.ask("POST", "/predict", b'{"sepal_length": 5.1}')
            assert status == 422  # what is wrong is told even now
            status, headers, body = ask_record(service)
            assert (status, headers["retry-after"]) == (503, "1")
            assert not re.search(b"sqlite|postgres|psycopg", body.lower())
        service.until(lambda: ask_record(service)[0] == 200)
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
            assert service.ask("GET", "/readyz")[0] == 200
        before = service.metric("ratchet_predictions_total")
        service.until(lambda: service.metric("ratchet_predictions_total") > before + 100)
        wait_until(lambda: not list((settings.home / "journal").glob("*")), 30)
    assert {request.status for request in load.requests} == {200, 503}
    assert lost(settings, load) == set()


def ask_record(service: Service) -> tuple[int, dict[str, str], bytes]:
    import json

    return service.ask("POST", "/predict", json.dumps(RECORD).encode())


@contextmanager
def locked_for(settings: Settings, seconds: float) -> Iterator[None]:
    """Lock the store until the block ends, and for so many seconds at least."""
    import time

    with locked(settings):
        begun = time.monotonic()
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - begun)))  # the length of the fault is the test's subject


@contextmanager
def full_disk(pids: list[int]) -> Iterator[None]:
    """No file of these processes can grow, which is what a full disk looks like to them."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    try:
        for pid, (_, hard) in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
