"""Predictions and explanations of the running service, and their rows in the store."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
import sqlalchemy as sa

from ratchet.feedback.table import feedback_of
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch
from ratchet.store.tables import prediction_batches, predictions
from tests.serving.bentoml_clients import use_clients_of_bentoml
from tests.serving.request_cases import RECORD_BODY, head, raw, refused
from tests.serving.running import RECORD, Service
from tests.serving.stored_rows import stored

TABLES = (predictions, prediction_batches)
LABELS = ["setosa", "versicolor", "virginica"]


def test_predict_returns_label_probabilities_and_model(service: Service) -> None:
    status, answer = service.post("/predict", RECORD)
    assert status == 200
    assert list(answer) == ["prediction_id", "prediction", "probabilities", "model"]
    assert UUID(answer["prediction_id"]).version == 7
    assert answer["prediction"] == "setosa"
    assert list(answer["probabilities"]) == LABELS
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert answer["model"] == {"name": service.get("/model")["name"], "version": "1"}


def test_each_prediction_is_a_row_in_the_store(service: Service, store: Store) -> None:
    _, answer = service.post("/predict", RECORD)
    row = stored(store, answer["prediction_id"])
    assert row["features"] == RECORD
    assert (row["prediction"], row["score"]) == ("setosa", answer["probabilities"]["setosa"])
    assert row["probabilities"] == answer["probabilities"]
    assert (row["model"], row["version"]) == (answer["model"]["name"], answer["model"]["version"])
    assert 0 < row["latency"] < 10


def test_an_invalid_record_leaves_no_row(service: Service, store: Store) -> None:
    def rows() -> list[int | None]:
        with store.reading() as connection:
            return [connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in TABLES]

    before = rows()
    assert service.post("/predict", {**RECORD, "colour": "blue"})[0] == 422
    assert service.post("/predict_batch", {"rows": [RECORD, {}]})[0] == 422
    assert rows() == before


def test_a_batch_is_answered_in_order_like_single_records(service: Service, store: Store) -> None:
    rows = [RECORD, {**RECORD, "petal_length": 6.0, "petal_width": 2.2}, {**RECORD, "petal_length": 4.0}]
    status, answer = service.post("/predict_batch", {"rows": rows})
    assert status == 200
    assert list(answer) == ["predictions", "model"]
    for row, found in zip(rows, answer["predictions"], strict=True):
        single = service.post("/predict", row)[1]
        assert found["prediction"] == single["prediction"]
        assert found["probabilities"] == pytest.approx(single["probabilities"], abs=1e-6)
        kept = stored(store, found["prediction_id"])
        assert (kept["features"], kept["prediction"]) == (row, found["prediction"])


def test_the_rows_of_a_batch_have_its_id_and_their_number_and_are_stored_together(
    service: Service, store: Store
) -> None:
    _, answer = service.post("/predict_batch", {"rows": [RECORD] * 12})
    ids = [found["prediction_id"] for found in answer["predictions"]]
    batch_id = ids[0].partition("#")[0]
    assert UUID(batch_id).version == 7
    assert ids == [f"{batch_id}#{row:05d}" for row in range(12)]
    stored(store, ids[0])
    with store.reading() as connection:
        batch = PredictionBatch(*connection.execute(sa.select(prediction_batches).filter_by(id=batch_id)).one())
    assert (batch.model, batch.version, batch.n_rows) == (answer["model"]["name"], answer["model"]["version"], 12)
    assert [row["probabilities"] for row in batch.rows()] == [row["probabilities"] for row in answer["predictions"]]
    assert 0 < batch.latency < 10


def test_a_row_of_a_batch_takes_feedback_as_a_single_prediction_does(service: Service, store: Store) -> None:
    _, answer = service.post("/predict_batch", {"rows": [RECORD] * 3})
    ids = [found["prediction_id"] for found in answer["predictions"]]
    assert service.post("/feedback", {"prediction_id": ids[0], "correct": True})[0] == 201
    items = [{"prediction_id": prediction_id, "target": "virginica"} for prediction_id in ids[1:]]
    status, found = service.post("/feedback_batch", {"feedback": items})
    assert (status, [row.target for row in feedback_of(store, ids[2])]) == (200, ["virginica"]), found
    assert service.post("/feedback", {"prediction_id": ids[1], "target": "setosa"})[0] == 409
    assert service.post("/feedback/links", {"prediction_id": ids[1]})[0] == 200
    unknown = ids[0].partition("#")[0] + "#00003"
    assert service.post("/feedback", {"prediction_id": unknown, "correct": True})[0] == 404


def test_a_batch_has_at_most_ten_thousand_rows(service: Service, store: Store) -> None:
    status, answer = service.post("/predict_batch", {"rows": [RECORD] * 10_000})
    assert status == 200
    ids = [found["prediction_id"] for found in answer["predictions"]]
    assert len(set(ids)) == 10_000
    assert stored(store, ids[0])
    assert stored(store, ids[-1])
    assert refused(service, "/predict_batch", json.dumps({"rows": [RECORD] * 10_001}).encode()) == (422, ["rows"])
    assert refused(service, "/predict_batch", b'{"rows": []}') == (422, ["rows"])


def test_explain_splits_the_output_over_the_features(service: Service) -> None:
    status, answer = service.post("/explain", RECORD)
    assert status == 200
    assert (answer["prediction"], answer["method"]) == ("setosa", "exact")
    assert list(answer["contributions"]) == list(RECORD)
    assert answer["output"] == pytest.approx(answer["probabilities"]["setosa"], abs=1e-6)
    assert answer["base"] + sum(answer["contributions"].values()) == pytest.approx(answer["output"], abs=1e-6)
    assert answer["model"] == service.post("/predict", RECORD)[1]["model"]


def test_integers_escapes_blanks_and_order_do_not_change_a_prediction(service: Service) -> None:
    expected = service.post("/predict", {**RECORD, "sepal_length": 5.0})[1]["probabilities"]
    record = dict(reversed({**RECORD, "sepal_length": 5}.items()))
    body = json.dumps(record, indent=4).replace("petal_width", "petal\\u005fwidth").encode()
    assert service.post("/predict", body)[1]["probabilities"] == expected


def test_a_body_in_small_chunks_is_read(service: Service) -> None:
    chunks = [b"1\r\n%b\r\n" % RECORD_BODY[at : at + 1] for at in range(len(RECORD_BODY))]
    status, _, body = raw(service, head("/predict", "transfer-encoding: chunked"), *chunks, b"0\r\n\r\n")
    assert (status, json.loads(body)["prediction"]) == (200, "setosa")


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # from an import of the client
def test_the_clients_of_bentoml_predict(service: Service) -> None:
    use_clients_of_bentoml(service)
