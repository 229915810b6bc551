"""Feedback over HTTP: what is answered to it, and what is in the store afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uuid_utils

from ratchet.feedback.table import feedback_of
from ratchet.inference.spill_journal import Journal
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.store.predictions import Prediction, insert_predictions
from ratchet.store.tables import feedback
from tests.fitted import Trained
from tests.locks import locked
from tests.serving.conftest import published
from tests.serving.running import RECORD, Service, serving, wait_until
from tests.serving.test_http import BAD_BODIES, BAD_TYPES, TEN_MEGABYTES, by_name, head, raw, refused
from tests.store_rows import prediction

LABELS = ("setosa", "versicolor", "virginica")
PATHS = ("/feedback", "/feedback_batch", "/feedback/links")


@pytest.fixture(scope="module")
def store(served_settings: Settings) -> Iterator[Store]:
    store = open_store(served_settings)
    yield store
    store.engine.dispose()


def predicted(service: Service) -> str:
    """The id of a prediction, which is setosa."""
    return str(service.post("/predict", RECORD)[1]["prediction_id"])


def inserted(store: Store, model: str, count: int = 1, **changes: Any) -> list[str]:
    """Ids of predictions of setosa that a model is said to have made."""
    shares = dict(zip(LABELS, (0.8, 0.1, 0.1), strict=True))
    own = {"model": model, "version": "1", "features": RECORD, "probabilities": shares, **changes}
    rows: list[Prediction] = [prediction(0, **own, id=str(uuid_utils.uuid7())) for _ in range(count)]
    insert_predictions(store, rows)
    return [row["id"] for row in rows]


def history(store: Store, prediction_id: str) -> list[tuple[int, Any, str]]:
    return [(row["revision"], row["target"], row["source"]) for row in feedback_of(store, prediction_id)]


def test_the_first_answer_is_created_and_the_same_again_is_told(service: Service, store: Store) -> None:
    one = predicted(service)
    body = {"prediction_id": one, "target": "versicolor"}
    status, first = service.post("/feedback", body)
    model = {"name": service.get("/model")["name"], "version": "1"}
    assert (status, first) == (
        201,
        {**body, "correct": False, "revision": 1, "model": model, "status": "recorded"},
    )
    assert service.post("/feedback", body) == (200, {**first, "status": "repeated"})
    assert history(store, one) == [(1, "versicolor", "user")]


def test_a_contradiction_is_a_conflict_until_it_is_sent_as_a_correction(service: Service, store: Store) -> None:
    one = predicted(service)
    service.post("/feedback", {"prediction_id": one, "target": "versicolor"})
    other = {"prediction_id": one, "target": "virginica"}
    status, said = service.post("/feedback", other)
    assert status == 409
    assert '"correction": true' in said["error"]
    standing = said["standing"]
    assert (standing["target"], standing["revision"], standing["source"]) == ("versicolor", 1, "user")
    status, said = service.post("/feedback", {**other, "correction": True})
    assert (status, said["status"], said["revision"]) == (200, "corrected", 2)
    assert history(store, one) == [(1, "versicolor", "user"), (2, "virginica", "user")]


def test_a_target_completes_a_bare_wrong(service: Service) -> None:
    one = predicted(service)
    status, said = service.post("/feedback", {"prediction_id": one, "correct": False})
    assert (status, said["target"], said["correct"]) == (201, None, False)
    status, said = service.post("/feedback", {"prediction_id": one, "target": "virginica"})
    assert (status, said["status"], said["revision"]) == (200, "completed", 2)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"target": "rose"}, "target"),
        ({"target": 1}, "target"),
        ({"target": "setosa", "correct": False}, "correct"),
        ({"target": "setosa", "colour": "blue"}, "colour"),
        ({}, "target"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_the_field(
    service: Service, store: Store, words: dict[str, Any], field: str
) -> None:
    one = predicted(service)
    body = json.dumps({"prediction_id": one, **words}).encode()
    assert refused(service, "/feedback", body) == (422, [field])
    assert history(store, one) == []


def test_an_unknown_prediction_is_not_found(service: Service) -> None:
    for path in ("/feedback", "/feedback/links"):
        words = {"target": "setosa"} if path == "/feedback" else {}
        status, said = service.post(path, {"prediction_id": str(uuid_utils.uuid7()), **words})
        assert status == 404
        assert "there is no prediction" in said["error"]


def test_an_unknown_prediction_may_be_in_a_journal(service: Service, served_settings: Settings, store: Store) -> None:
    (known,) = inserted(store, service.get("/model")["name"])
    journal = Journal(served_settings.home / "journal")
    row = prediction(0, id=str(uuid_utils.uuid7()), model=service.get("/model")["name"])
    journal.append([row])
    body = json.dumps({"prediction_id": row["id"], "correct": True}).encode()
    status, headers, _ = service.ask("POST", "/feedback", body)
    assert (status, headers["retry-after"]) == (503, "1")
    assert service.post("/feedback", {"prediction_id": known, "correct": True})[0] == 201
    journal.release()
    service.until(lambda: service.post("/feedback", body)[0] == 201)


def test_another_models_prediction_is_not_found_and_nothing_is_recorded(service: Service, store: Store) -> None:
    (one,) = inserted(store, "wine")
    status, said = service.post("/feedback", {"prediction_id": one, "target": "setosa"})
    assert status == 404
    assert "'wine'" in said["error"]
    assert history(store, one) == []


def test_late_feedback_out_of_order_is_taken(service: Service, store: Store) -> None:
    model = service.get("/model")["name"]
    old, new = inserted(store, model, created_at=1.0)[0], predicted(service)
    for one in (new, old):
        assert service.post("/feedback", {"prediction_id": one, "correct": True})[0] == 201
    assert feedback_of(store, new)[0]["seq"] < feedback_of(store, old)[0]["seq"]


@pytest.fixture(scope="module")
def rolled_back(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, str, str]]:
    """A service that has gone back from version 2 to 1, an id that version 2 has predicted, and a link to it."""
    pointer = published(served_settings, *iris_models)
    pointer.promote("2", "second", "test")
    output = tmp_path_factory.mktemp("rolled-back") / "output"
    with serving(served_settings, pointer.model, output, RATCHET_POLL_INTERVAL="0.2") as service:
        assert service.get("/model")["version"] == "2"
        one = predicted(service)
        link = service.post("/feedback/links", {"prediction_id": one})[1]["url"]
        pointer.rollback("it was worse", "test")
        service.until(lambda: {worker["version"] for worker in service.get("/health")["workers"]} == {"1"})
        yield service, one, link


def test_feedback_counts_for_the_version_that_predicted_also_after_a_rollback(
    rolled_back: tuple[Service, str, str], store: Store
) -> None:
    service, one, link = rolled_back
    assert "version 2" in service.ask("GET", link)[2].decode()
    status, said = service.post("/feedback", {"prediction_id": one, "target": "virginica"})
    assert (status, said["model"]["version"]) == (201, "2")
    assert [row["version"] for row in feedback_of(store, one)] == ["2"]
    service.until(lambda: service.metric("ratchet_feedback_total", version="2", status="recorded") == 1)


def test_while_the_store_is_locked_feedback_is_refused_and_then_taken(
    rolled_back: tuple[Service, str, str], served_settings: Settings
) -> None:
    service = rolled_back[0]
    body = json.dumps({"prediction_id": predicted(service), "correct": True}).encode()
    with locked(served_settings):
        status, headers, said = service.ask("POST", "/feedback", body)
    assert (status, headers["retry-after"]) == (503, "1")
    assert not re.search(b"sqlite|postgres|psycopg", said.lower())
    service.until(lambda: service.post("/feedback", body)[0] in (200, 201))


def test_each_item_of_a_batch_is_answered_in_its_order(service: Service, store: Store) -> None:
    one, other = predicted(service), predicted(service)
    items = [
        {"prediction_id": one, "target": "virginica"},
        {"prediction_id": one, "target": "virginica"},
        {"prediction_id": "nothing", "correct": True},
        "no object",
        {"prediction_id": one, "correct": True},
        {"prediction_id": other, "target": "rose"},
        {"prediction_id": other, "correct": True, "more": 1},
        {"prediction_id": one, "correct": True, "correction": True},
        {"prediction_id": other, "correct": False},
        {"prediction_id": other, "target": "versicolor"},
    ]
    status, said = service.post("/feedback_batch", {"feedback": items})
    assert status == 200
    assert [result["code"] for result in said["results"]] == [201, 200, 404, 422, 409, 422, 422, 200, 201, 200]
    assert said["counts"] == {"recorded": 2, "repeated": 1, "corrected": 1, "completed": 1, "refused": 5}
    assert said["results"][0]["prediction_id"] == one
    assert said["results"][4]["standing"]["target"] == "virginica"
    assert [problem["field"] for problem in said["results"][6]["details"]] == ["more"]
    assert history(store, one) == [(1, "virginica", "batch"), (2, "setosa", "batch")]
    again = service.post("/feedback_batch", {"feedback": [items[-1]]})[1]
    assert [result["status"] for result in again["results"]] == ["repeated"]


def test_a_batch_may_be_as_large_as_one_of_predictions(service: Service, store: Store) -> None:
    ids = inserted(store, service.get("/model")["name"], 10_000)
    items = [{"prediction_id": one, "correct": True} for one in ids]
    status, said = service.post("/feedback_batch", {"feedback": items})
    assert (status, said["counts"]["recorded"]) == (200, 10_000)
    assert [result["prediction_id"] for result in said["results"]] == ids
    assert refused(service, "/feedback_batch", json.dumps({"feedback": [*items, 1]}).encode()) == (422, ["feedback"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", by_name(BAD_BODIES))
def test_a_body_that_is_no_object_is_refused_as_a_whole(service: Service, path: str, body: bytes) -> None:
    status, fields = refused(service, path, body)
    assert status == 422
    assert set(fields) <= {"body", "feedback", "prediction_id", *RECORD}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("media_type", BAD_TYPES)
def test_what_is_no_json_is_refused_by_its_type(service: Service, path: str, media_type: str) -> None:
    assert refused(service, path, b"{}", media_type) == (415, [])


@pytest.mark.parametrize("path", [*PATHS, "/feedback/form"])
def test_ten_megabytes_are_refused(service: Service, path: str) -> None:
    lines = head(path, f"content-length: {len(TEN_MEGABYTES)}")
    if path == "/feedback/form":
        lines = lines.replace(b"application/json", b"application/x-www-form-urlencoded")
    assert raw(service, lines, TEN_MEGABYTES)[0] == 413


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_not_allowed_and_is_counted(service: Service, path: str, method: str) -> None:
    before = service.metric("ratchet_requests_total", route=path, status="405")
    status, headers, _ = service.ask(method, path)
    assert (status, headers["allow"]) == (405, "POST")
    service.until(lambda: service.metric("ratchet_requests_total", route=path, status="405") == before + 1)


def test_feedback_is_counted_by_what_became_of_it(service: Service) -> None:
    def counted(status: str) -> float:
        return service.metric("ratchet_feedback_total", source="user", status=status, version="1")

    statuses = ("recorded", "repeated", "contradicted", "corrected")
    before = [counted(status) for status in statuses]
    one = predicted(service)
    for words in (
        {"target": "setosa"},
        {"correct": True},
        {"correct": False},
        {"target": "virginica", "correction": True},
    ):
        service.post("/feedback", {"prediction_id": one, **words})
    service.until(lambda: [counted(status) for status in statuses] == [count + 1 for count in before])


class Stream:
    """Clients that send feedback, each for predictions of its own, until they are told that it is enough."""

    def __init__(self, port: int, ids: list[str], clients: int = 8) -> None:
        self.acknowledged: list[str] = []
        self._port = port
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(ids[at::clients],)) for at in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _send(self, ids: list[str]) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        for one in ids:
            body = json.dumps({"prediction_id": one, "target": "versicolor"}).encode()
            for _ in range(0 if self._enough.is_set() else 2):  # a client that is not sure sends it again
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


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    name = "served_settings" if request.param == "sqlite" else "served_on_postgresql"
    found: Settings = request.getfixturevalue(name)
    return found


@pytest.mark.slow
def test_no_acknowledged_feedback_is_lost_or_counted_twice_when_a_worker_and_then_everything_is_killed(
    settings: Settings, iris_models: tuple[Trained, Trained], tmp_path: Path
) -> None:
    model = published(settings, iris_models[0]).model
    store = open_store(settings)
    ids = inserted(store, model, 8000)
    with serving(settings, model, tmp_path / "output") as service:
        stream = Stream(service.port, ids)
        stream.start()
        wait_until(lambda: len(stream.acknowledged) > 300, 30)
        os.kill(service.workers[0], signal.SIGKILL)
        before = len(stream.acknowledged)
        wait_until(lambda: len(stream.acknowledged) > before + 300, 30)
        service.kill()
        stream.stop()
    with store.reading() as connection:
        rows = list(connection.scalars(sa.select(feedback.c.prediction_id).where(feedback.c.model == model)))
    store.engine.dispose()
    assert set(stream.acknowledged) <= set(rows)
    assert len(rows) == len(set(rows))
    assert len(set(stream.acknowledged)) < len(ids), "it was killed in the middle"
