"""Feedback over HTTP: the replies, and the rows in the store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uuid_utils

from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.predictions import first_id
from ratchet.store.retention_positions import note_moved
from tests.fitted import Trained
from tests.locks import locked
from tests.serving.conftest import published
from tests.serving.feedback_rows import history, inserted, predicted
from tests.serving.request_cases import refused
from tests.serving.running import Service, serving


def test_the_first_feedback_is_created_and_its_repetition_changes_nothing(service: Service, store: Store) -> None:
    one = predicted(service)
    body = {"prediction_id": one, "target": "versicolor"}
    status, first = service.post("/feedback", body)
    model = {"name": service.get("/model")["name"], "version": "1"}
    assert (status, first) == (201, {**body, "correct": False, "revision": 1, "model": model, "status": "recorded"})
    assert service.post("/feedback", body) == (200, {**first, "status": "repeated"})
    assert history(store, one) == [(1, "versicolor", "user")]


def test_a_contradiction_is_a_conflict_unless_it_is_a_correction(service: Service, store: Store) -> None:
    one = predicted(service)
    service.post("/feedback", {"prediction_id": one, "target": "versicolor"})
    other = {"prediction_id": one, "target": "virginica"}
    status, reply = service.post("/feedback", other)
    assert status == 409
    assert '"correction": true' in reply["error"]
    standing = reply["standing"]
    assert (standing["target"], standing["revision"], standing["source"]) == ("versicolor", 1, "user")
    status, reply = service.post("/feedback", {**other, "correction": True})
    assert (status, reply["status"], reply["revision"]) == (200, "corrected", 2)
    assert history(store, one) == [(1, "versicolor", "user"), (2, "virginica", "user")]


def test_a_target_completes_feedback_without_one(service: Service) -> None:
    one = predicted(service)
    status, reply = service.post("/feedback", {"prediction_id": one, "correct": False})
    assert (status, reply["target"], reply["correct"]) == (201, None, False)
    status, reply = service.post("/feedback", {"prediction_id": one, "target": "virginica"})
    assert (status, reply["status"], reply["revision"]) == (200, "completed", 2)


@pytest.mark.parametrize(
    ("feedback", "field"),
    [
        ({"target": "rose"}, "target"),
        ({"target": 1}, "target"),
        ({"target": "setosa", "correct": False}, "correct"),
        ({"target": "setosa", "colour": "blue"}, "colour"),
        ({}, "target"),
    ],
)
def test_the_reply_to_invalid_feedback_names_the_field(
    service: Service, store: Store, feedback: dict[str, Any], field: str
) -> None:
    one = predicted(service)
    body = json.dumps({"prediction_id": one, **feedback}).encode()
    assert refused(service, "/feedback", body) == (422, [field])
    assert history(store, one) == []


def test_an_unknown_prediction_is_not_found(service: Service) -> None:
    for path, feedback in (("/feedback", {"target": "setosa"}), ("/feedback/links", {})):
        status, reply = service.post(path, {"prediction_id": str(uuid_utils.uuid7()), **feedback})
        assert status == 404
        assert "there is no prediction" in reply["error"]


def test_feedback_right_after_its_prediction_is_recorded(service: Service) -> None:
    for number in range(30):
        path = ("/feedback", "/feedback/links")[number % 2]
        more = {} if number % 2 else {"correct": True}
        assert service.post(path, {"prediction_id": predicted(service), **more})[0] in (200, 201)


def test_a_prediction_that_retention_moved_is_gone(service: Service, store: Store) -> None:
    model = service.get("/model")["name"]
    old = f"{first_id(1.0)}-7000-8000-{0:012x}"
    with store.transaction() as connection:
        note_moved(store, connection, model, old, archived=True)
    for path, feedback in (("/feedback", {"target": "setosa"}), ("/feedback/links", {})):
        status, reply = service.post(path, {"prediction_id": old, **feedback})
        assert status == 410
        assert "has been archived" in reply["error"]
    assert service.post("/feedback", {"prediction_id": predicted(service), "target": "setosa"})[0] == 201


def test_feedback_on_a_prediction_that_may_be_in_a_journal_is_retried(
    service: Service, served_settings: Settings, store: Store
) -> None:
    (known,) = inserted(store, service.get("/model")["name"])
    unmovable = Path(served_settings.home, "journal", "0.segment")
    unmovable.mkdir(parents=True)
    body = json.dumps({"prediction_id": str(uuid_utils.uuid7()), "correct": True}).encode()
    try:
        # Until a move fails, an unknown prediction is in none of the journal's other segments.
        service.until(lambda: service.request("POST", "/feedback", body)[0] == 503)
        status, headers, _ = service.request("POST", "/feedback", body)
        assert (status, headers["retry-after"]) == (503, "1")
        assert service.post("/feedback", {"prediction_id": known, "correct": True})[0] == 201
    finally:
        unmovable.rmdir()  # the other tests use this service too
    service.until(lambda: service.request("POST", "/feedback", body)[0] == 404)


def test_a_prediction_of_another_model_is_not_found(service: Service, store: Store) -> None:
    (one,) = inserted(store, "wine")
    status, reply = service.post("/feedback", {"prediction_id": one, "target": "setosa"})
    assert status == 404
    assert "'wine'" in reply["error"]
    assert history(store, one) == []


def test_late_feedback_in_any_order_is_accepted(service: Service, store: Store) -> None:
    (old,), new = inserted(store, service.get("/model")["name"], created_at=1.0), predicted(service)
    for one in (new, old):
        assert service.post("/feedback", {"prediction_id": one, "correct": True})[0] == 201
    assert history(store, new) == history(store, old) == [(1, "setosa", "user")]


@pytest.fixture(scope="module")
def rolled_back(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, str, str]]:
    """A service that was rolled back from version 2 to 1, the id of a prediction of version 2, and a link to it."""
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


def test_after_a_rollback_feedback_counts_for_the_version_that_predicted(
    rolled_back: tuple[Service, str, str], store: Store
) -> None:
    service, one, link = rolled_back
    assert "version 2" in service.request("GET", link)[2].decode()
    status, reply = service.post("/feedback", {"prediction_id": one, "target": "virginica"})
    assert (status, reply["model"]["version"]) == (201, "2")
    assert history(store, one) == [(1, "virginica", "user")]
    service.until(lambda: service.metric("ratchet_feedback_total", version="2", status="recorded") == 1)


def test_while_the_store_is_locked_feedback_is_refused(
    rolled_back: tuple[Service, str, str], served_settings: Settings
) -> None:
    service = rolled_back[0]
    body = json.dumps({"prediction_id": predicted(service), "correct": True}).encode()
    with locked(served_settings):
        status, headers, content = service.request("POST", "/feedback", body)
    assert (status, headers["retry-after"]) == (503, "1")
    assert not re.search(b"sqlite|postgres|psycopg", content.lower())
    service.until(lambda: service.post("/feedback", body)[0] in (200, 201))


def test_each_item_of_a_batch_has_its_result(service: Service, store: Store) -> None:
    one, other = predicted(service), predicted(service)
    for each in (one, other):
        assert service.post("/feedback/links", {"prediction_id": each})[0] == 200  # it is in the store from now on
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
    status, reply = service.post("/feedback_batch", {"feedback": items})
    assert status == 200
    assert [result["code"] for result in reply["results"]] == [201, 200, 404, 422, 409, 422, 422, 200, 201, 200]
    assert reply["counts"] == {"recorded": 2, "repeated": 1, "corrected": 1, "completed": 1, "refused": 5}
    assert reply["results"][0]["prediction_id"] == one
    assert reply["results"][4]["standing"]["target"] == "virginica"
    assert [problem["field"] for problem in reply["results"][6]["details"]] == ["more"]
    assert history(store, one) == [(1, "virginica", "batch"), (2, "setosa", "batch")]
    again = service.post("/feedback_batch", {"feedback": [items[-1]]})[1]
    assert [result["status"] for result in again["results"]] == ["repeated"]


def test_a_batch_has_at_most_ten_thousand_items(service: Service, store: Store) -> None:
    ids = inserted(store, service.get("/model")["name"], 10_000)
    items = [{"prediction_id": one, "correct": True} for one in ids]
    status, reply = service.post("/feedback_batch", {"feedback": items})
    assert (status, reply["counts"]["recorded"]) == (200, 10_000)
    assert [result["prediction_id"] for result in reply["results"]] == ids
    assert refused(service, "/feedback_batch", json.dumps({"feedback": [*items, 1]}).encode()) == (422, ["feedback"])


def test_feedback_is_counted_by_outcome(service: Service) -> None:
    def counted(status: str) -> float:
        return service.metric("ratchet_feedback_total", source="user", status=status, version="1")

    statuses = ("recorded", "repeated", "contradicted", "corrected")
    before = [counted(status) for status in statuses]
    one = predicted(service)
    for feedback in (
        {"target": "setosa"},
        {"correct": True},
        {"correct": False},
        {"target": "virginica", "correction": True},
    ):
        service.post("/feedback", {"prediction_id": one, **feedback})
    service.until(lambda: [counted(status) for status in statuses] == [count + 1 for count in before])
