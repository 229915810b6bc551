"""Batches over HTTP: rows of JSON, columns of JSON and Arrow streams, and the process that answers them."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ratchet.settings import Settings
from ratchet.store.database import Store
from serving.batch_process import NICE
from tests.batch_bodies import columns_of, stream
from tests.conftest import ROOT
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.request_cases import refused
from tests.serving.running import RECORD, Service, serving
from tests.serving.stored_rows import stored

ARROW, JSON = "application/vnd.apache.arrow.stream", "application/json"
ROWS = [RECORD, {**RECORD, "petal_length": 6.0, "petal_width": 2.2}, {**RECORD, "petal_length": 4.0}]
COLUMNS = {"columns": columns_of(ROWS)}


def post(service: Service, body: bytes, content_type: str = JSON, **headers: str) -> tuple[int, str, bytes]:
    """Return status, media type and body of the answer to a batch."""
    status, found, answer = service.request("POST", "/predict_batch", body, content_type=content_type, **headers)
    return status, found["content-type"], answer


def table_of(answer: bytes) -> pa.Table:
    return pa.ipc.open_stream(answer).read_all()


def in_rows(service: Service) -> tuple[list[str], list[dict[str, float]]]:
    status, answer = service.post("/predict_batch", {"rows": ROWS})
    assert status == 200, answer
    return tuple([found[key] for found in answer["predictions"]] for key in ("prediction", "probabilities"))  # type: ignore[return-value]


def test_columns_are_answered_as_columns_with_one_id(service: Service, store: Store) -> None:
    status, answer = service.post("/predict_batch", COLUMNS)
    assert status == 200
    assert list(answer) == ["batch_id", "count", "predictions", "probabilities", "model"]
    labels, probabilities = in_rows(service)
    assert (answer["count"], answer["predictions"]) == (3, labels)
    assert answer["probabilities"] == {name: [row[name] for row in probabilities] for name in probabilities[0]}
    for number, row in enumerate(ROWS):
        kept = stored(store, f"{answer['batch_id']}#{number:05d}")
        assert (kept["features"], kept["prediction"]) == (row, labels[number])
        assert kept["probabilities"] == probabilities[number]
        assert kept["score"] == probabilities[number][labels[number]]


def test_an_arrow_stream_is_answered_as_one(service: Service, store: Store) -> None:
    status, kind, answer = post(service, stream(pa.Table.from_pylist(ROWS)), ARROW)
    assert (status, kind) == (200, ARROW)
    table = table_of(answer)
    assert table.column_names == ["prediction", "probabilities"]
    labels, probabilities = in_rows(service)
    assert table.column("prediction").to_pylist() == labels
    assert table.column("probabilities").to_pylist() == probabilities
    assert json.loads(table.schema.metadata[b"model"]) == service.post("/predict", RECORD)[1]["model"]
    kept = stored(store, table.schema.metadata[b"batch_id"].decode() + "#00001")
    assert kept["features"] == ROWS[1]


@pytest.mark.parametrize("sent", [JSON, ARROW, f"{ARROW}; charset=binary"])
@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, None),
        ("*/*", None),
        ("application/*", None),
        (ARROW, ARROW),
        (JSON, JSON),
        (f"{JSON};q=0.5, {ARROW}", ARROW),
        (f"{ARROW};q=0.5, */*", JSON),
        (f"{ARROW};q=0", JSON),
        (f"{ARROW}, {JSON}", None),
        ("text/html", JSON),
        (f"{ARROW};q=x", JSON),
    ],
)
def test_the_answer_is_what_accept_asks_for(service: Service, sent: str, accept: str | None, answered: str) -> None:
    body = json.dumps(COLUMNS).encode() if sent == JSON else stream(pa.Table.from_pylist(ROWS))
    status, kind, answer = post(service, body, sent, **({"accept": accept} if accept else {}))
    assert (status, kind) == (200, answered or sent.partition(";")[0])
    found = table_of(answer).column("prediction").to_pylist() if kind == ARROW else json.loads(answer)["predictions"]
    assert found == in_rows(service)[0]


def test_the_example_of_pandas_in_the_documentation_works(
    service: Service, capsys: pytest.CaptureFixture[str], store: Store
) -> None:
    page = (ROOT / "docs" / "how-to" / "serve.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "pyarrow" in block]
    names: dict[str, Any] = {}
    exec(code.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"), names)
    predictions = names["predictions"]
    assert predictions["prediction"].tolist() == ["setosa", "virginica"]
    assert stored(store, predictions["prediction_id"][1])["features"]["sepal_length"] == 6.7
    assert "probabilities.versicolor" in capsys.readouterr().out


def test_rows_and_their_columns_are_refused_alike(service: Service) -> None:
    wrong = [
        {**ROWS[0], "sepal_width": "wide", "colour": 1},
        {**ROWS[1], "sepal_width": "3,5", "petal_length": None, "colour": 2},
    ]
    bodies = [({"rows": wrong}, JSON), ({"columns": columns_of(wrong)}, JSON)]
    answers = [post(service, json.dumps(body).encode(), kind) for body, kind in bodies]
    answers.append(post(service, stream(pa.Table.from_pylist(wrong)), ARROW))
    assert set(answers) == {answers[0]}
    status, kind, answer = answers[0]
    assert (status, kind) == (422, JSON)
    assert [detail["field"] for detail in json.loads(answer)["details"]] == [
        "rows[0].sepal_width", "rows[0].colour",
        "rows[1].sepal_width", "rows[1].petal_length", "rows[1].colour",
    ]  # fmt: skip


def test_what_is_no_batch_is_refused(service: Service, store: Store) -> None:
    many = pa.Table.from_pylist([RECORD] * 10_001)
    assert refused(service, "/predict_batch", json.dumps({"columns": columns_of([RECORD] * 10_001)}).encode()) == (
        422,
        ["rows"],
    )
    for body in (stream(many), stream(many.slice(0, 0)), b"", b"{}", stream(many)[:100]):
        assert post(service, body, ARROW)[0] == 422
    assert post(service, stream(many), JSON)[0] == 422
    assert post(service, stream(many), "application/vnd.apache.arrow.file")[0] == 415
    assert service.request("POST", "/predict", stream(many), content_type=ARROW)[0] == 415


def test_a_batch_that_grows_by_decompression_is_refused(service: Service) -> None:
    table = pa.table({name: np.zeros(10_000) for name in RECORD})
    columns = [pa.table({**{n: table.column(n) for n in RECORD}, **{f"x{i}": np.zeros(10_000) for i in range(60)}})]
    body = stream(columns[0], "zstd")
    assert len(body) < 100_000
    status, _, answer = post(service, body, ARROW)
    assert (status, json.loads(answer)["details"][0]["field"]) == (422, "body")


def batch_process(service: Service) -> int:
    """The process of batches, which has a priority of its own."""
    found = [pid for pid in service.processes if os.getpriority(os.PRIO_PROCESS, pid) == NICE]
    if len(found) != 1:
        raise ValueError("it is being started")
    return found[0]


def next_batch_process(service: Service, killed: int = 0) -> int:
    """Wait for the process of batches that follows a killed one."""
    return service.find(lambda: batch_process(service), lambda process: process != killed)


@pytest.mark.slow
def test_a_killed_process_of_batches_loses_no_batch(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    pointer = published(served_settings, iris_models[0])
    body = json.dumps({"rows": [RECORD] * 5_000}).encode()
    with serving(served_settings, pointer.model, output) as service:
        living = next_batch_process(service)
        answers: list[int] = []
        stopped = threading.Event()

        def send() -> None:
            while not stopped.is_set():
                answers.append(post(service, body)[0])

        threads = [threading.Thread(target=send, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                before = len(answers)
                os.kill(living, signal.SIGKILL)
                living = next_batch_process(service, living)
                service.until(lambda before=before: len(answers) > before + 6)  # type: ignore[misc]
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
        assert set(answers) <= {200, 503}
        assert answers.count(200) > len(answers) / 2
        assert answers[-1] == 200


def test_the_process_of_batches_ends_with_the_service(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    pointer = published(served_settings, iris_models[0])
    with serving(served_settings, pointer.model, output) as service:
        assert service.post("/predict_batch", COLUMNS)[0] == 200
        service.until(lambda: batch_process(service) > 0)
        service.stop()
        service.until(lambda: service.processes == [])
    assert "Traceback" not in output.read_text()


@pytest.mark.slow
def test_batches_come_from_the_version_that_answers_single_records(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    """Each batch between two single requests with one version has that version, and its probabilities."""
    pointer = published(served_settings, *iris_models)
    expected = {
        version: trained.model.predict_proba(pd.DataFrame([RECORD]))[0, 0]
        for version, trained in zip("12", iris_models, strict=True)
    }
    with serving(served_settings, pointer.model, output, RATCHET_POLL_INTERVAL="0.5") as service:
        for _ in range(4):
            wanted = pointer.promote("2", "turn", "test").to_version
            service.until(partial(_swapped, service, wanted, expected))
            wanted = pointer.rollback("turn", "test").to_version
            service.until(partial(_swapped, service, wanted, expected))


def _swapped(service: Service, wanted: str, expected: dict[str, float]) -> bool:
    before = service.post("/predict", RECORD)[1]["model"]["version"]
    answer = service.post("/predict_batch", COLUMNS)[1]
    after = service.post("/predict", RECORD)[1]["model"]["version"]
    version = answer["model"]["version"]
    assert answer["probabilities"]["setosa"][0] == pytest.approx(expected[version], abs=1e-4)
    if before == after:
        assert version == before
    return bool(after == wanted)
