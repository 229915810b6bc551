"""What the running service answers: its routes, and what it refuses and how; both ways to start it answer alike."""

from __future__ import annotations

import json
import pickle
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from uuid import UUID

import bentoml
import pytest

from ratchet.registry.fetch_package import production_pointer
from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.predictions import find_prediction
from serving.replies import CLOSED_POLICY, SECURITY
from tests.conftest import ROOT
from tests.fitted import Trained
from tests.serving.conftest import publish
from tests.serving.running import RECORD, Service, serving

LABELS = ["setosa", "versicolor", "virginica"]
TAKE_A_RECORD = ("/predict", "/explain")
TAKE_A_BODY = (*TAKE_A_RECORD, "/predict_batch")
TAKE_FEEDBACK = ("/feedback", "/feedback_batch", "/feedback/links")
# What an error body would hold if it told of the inside.
INSIDE = re.compile(
    r'Traceback|File "|\.py\b|site-packages|/home|/tmp|/usr|/work|\b(?:serving|ratchet|pydantic|_?bentoml|starlette'
    r"|uvicorn|httptools|sqlalchemy|onnxruntime|sklearn|numpy|asyncio)[._]\w"
)

RECORD_BODY = json.dumps(RECORD).encode()
ROWS_BODY = json.dumps({"rows": [RECORD]}).encode()
FORM = "application/x-www-form-urlencoded"
PICKLE = "application/vnd.bentoml+pickle"


def with_length(value: str) -> bytes:
    """A record whose first value is this piece of JSON."""
    return f'{{"sepal_length": {value}, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}}'.encode()


BAD_VALUES = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "a number that no float has": "1e400",
    "a number that single precision has not": "1e39",
    "a far number": "3e38",
    "an integer of 400 digits": "9" * 400,
    "a number as text": '"5.1"',
    "true": "true",
    "null": "null",
    "a list": "[5.1]",
    "an object": '{"value": 5.1}',
}
# A body that is no record, and the field that its refusal names.
BAD_RECORDS: dict[str, tuple[bytes, str]] = {
    **{name: (with_length(value), "sepal_length") for name, value in BAD_VALUES.items()},
    "a missing field": (json.dumps({k: v for k, v in RECORD.items() if k != "petal_width"}).encode(), "petal_width"),
    "an extra field": (json.dumps({**RECORD, "colour": "blue"}).encode(), "colour"),
    "a field twice": (RECORD_BODY[:-1] + b', "petal_width": 0.2}', "petal_width"),
    "a field twice, once escaped": (RECORD_BODY[:-1] + b', "petal\\u005fwidth": 0.2}', "petal_width"),
}
# A body that is no JSON object at all.
BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a list of records": b"[" + RECORD_BODY + b"]",
    "null": b"null",
    "a number": b"5.1",
    "a text": b'"setosa"',
    "half a record": RECORD_BODY[: len(RECORD_BODY) // 2],
    "a record and more": RECORD_BODY + RECORD_BODY,
    "a form": b"sepal_length=5.1&sepal_width=3.5",
    "bytes that are no UTF-8": RECORD_BODY.replace(b"sepal_length", b"sepal\xff\xfelength"),
    "half a surrogate": RECORD_BODY.replace(b"sepal_length", b"\\ud800"),
    "UTF-16": json.dumps(RECORD).encode("utf-16"),
    "a list in 100,000 lists": b"[" * 100_000 + b"]" * 100_000,
    "an object in 100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a NUL": b"\x00",
    "an integer that no parser reads": with_length("9" * 5000),
}
BAD_TYPES = ["text/plain", FORM, "multipart/form-data; boundary=x", "text/json", PICKLE]


def by_name(cases: dict[str, Any]) -> list[Any]:
    return [pytest.param(case, id=name) for name, case in cases.items()]


def as_row(body: bytes) -> bytes:
    """A record's body as the second row of a batch."""
    return b'{"rows": [' + RECORD_BODY + b", " + body + b"]}"


def tells_nothing_of_the_inside(body: bytes) -> bool:
    return not INSIDE.search(body.decode())


def refused(service: Service, path: str, body: bytes, media_type: str = "application/json") -> tuple[int, list[str]]:
    """Status and named fields of a refusal, which has to be one in form too, and after which the service answers."""
    status, headers, said = service.ask("POST", path, body, content_type=media_type)
    assert headers["content-type"] == "application/json"
    assert tells_nothing_of_the_inside(said), said
    answer = json.loads(said)
    assert answer["error"]
    assert len(said) < 5000
    assert service.post("/predict", RECORD)[0] == 200
    return status, [detail["field"] for detail in answer.get("details", ())]


def test_predict_answers_with_label_probabilities_and_model(service: Service) -> None:
    status, answer = service.post("/predict", RECORD)
    assert status == 200
    assert list(answer) == ["prediction_id", "prediction", "probabilities", "model"]
    assert UUID(answer["prediction_id"]).version == 7
    assert answer["prediction"] == "setosa"
    assert list(answer["probabilities"]) == LABELS
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert answer["model"] == {"name": service.get("/model")["name"], "version": "1"}


def test_each_answer_is_a_row_in_the_store(service: Service, served_settings: Settings) -> None:
    store = open_store(served_settings)
    _, answer = service.post("/predict", RECORD)
    row = find_prediction(store, answer["prediction_id"])
    assert row is not None
    assert row["features"] == RECORD
    assert (row["prediction"], row["score"]) == ("setosa", answer["probabilities"]["setosa"])
    assert row["probabilities"] == answer["probabilities"]
    assert (row["model"], row["version"]) == (answer["model"]["name"], answer["model"]["version"])
    assert 0 < row["latency"] < 10


def test_a_refused_record_leaves_no_row(service: Service, served_settings: Settings) -> None:
    store = open_store(served_settings)
    before = store_size(store)
    assert service.post("/predict", {**RECORD, "colour": "blue"})[0] == 422
    assert service.post("/predict_batch", {"rows": [RECORD, {}]})[0] == 422
    assert store_size(store) == before


def store_size(store: Any) -> int:
    with store.reading() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar_one())


def test_a_batch_is_answered_in_its_order_as_its_records_are_alone(service: Service, served_settings: Settings) -> None:
    store = open_store(served_settings)
    rows = [RECORD, {**RECORD, "petal_length": 6.0, "petal_width": 2.2}, {**RECORD, "petal_length": 4.0}]
    status, answer = service.post("/predict_batch", {"rows": rows})
    assert status == 200
    assert list(answer) == ["predictions", "model"]
    for row, said in zip(rows, answer["predictions"], strict=True):
        alone = service.post("/predict", row)[1]
        assert said["prediction"] == alone["prediction"]
        assert said["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
        kept = find_prediction(store, said["prediction_id"])
        assert kept is not None
        assert (kept["features"], kept["prediction"]) == (row, said["prediction"])


def test_ten_thousand_rows_are_answered_and_one_more_is_refused(service: Service, served_settings: Settings) -> None:
    status, answer = service.post("/predict_batch", {"rows": [RECORD] * 10_000})
    assert status == 200
    ids = [said["prediction_id"] for said in answer["predictions"]]
    assert len(set(ids)) == 10_000
    store = open_store(served_settings)
    assert find_prediction(store, ids[0])
    assert find_prediction(store, ids[-1])
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


def test_model_tells_signature_version_and_lineage(service: Service) -> None:
    found = service.get("/model")
    assert (found["version"], found["engine"]) == ("1", "onnx")
    assert [field["name"] for field in found["signature"]["features"]] == list(RECORD)
    assert found["signature"]["labels"] == LABELS
    assert found["lineage"]["package_digest"] == found["digest"]
    assert found["mlflow_run_id"]
    assert {"metrics", "libraries"} <= set(found)


def test_health_tells_status_version_workers_and_latency(service: Service) -> None:
    service.post("/predict", RECORD)
    service.until(lambda: service.get("/health")["latency_ms"]["requests"] > 0)
    found = service.get("/health")
    assert (found["status"], found["version"], found["store"]) == ("ok", "1", "up")
    assert found["model"] == service.get("/model")["name"]
    assert {worker["version"] for worker in found["workers"]} == {"1"}
    assert len({worker["pid"] for worker in found["workers"]}) == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found["since"])
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_probes_answer(service: Service, path: str) -> None:
    status, headers, body = service.ask("GET", path)
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert tells_nothing_of_the_inside(body)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs.json", "application/json"),
        ("/schema.json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/model", "application/json"),
        ("/health", "application/json"),
    ],
)
def test_each_page_has_its_media_type(service: Service, path: str, media_type: str) -> None:
    status, headers, body = service.ask("GET", path)
    assert (status, headers["content-type"]) == (200, media_type)
    assert body
    assert service.ask("HEAD", path)[::2] == (200, b"")


def test_the_root_leads_to_the_documentation(service: Service) -> None:
    status, headers, _ = service.ask("GET", "/")
    assert (status, headers["location"]) == (307, "docs")


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # what the client imports says it
def test_bentomls_own_client_predicts(service: Service, served_settings: Settings) -> None:
    with bentoml.SyncHTTPClient(f"http://127.0.0.1:{service.port}") as client:
        one = client.predict(**RECORD)
        many = client.predict_batch(rows=[RECORD, RECORD])
        why = client.explain(**RECORD)
        assert client.is_ready()
        client._temp_dir.cleanup()  # closing it forgets to
    assert one["prediction"] == why["prediction"] == "setosa"
    assert [said["prediction"] for said in many["predictions"]] == ["setosa", "setosa"]
    assert find_prediction(open_store(served_settings), one["prediction_id"])


def test_a_whole_number_is_a_number(service: Service) -> None:
    whole = service.post("/predict", {**RECORD, "sepal_length": 5})[1]
    point = service.post("/predict", {**RECORD, "sepal_length": 5.0})[1]
    assert whole["probabilities"] == point["probabilities"]


def test_escaped_names_blanks_and_any_order_are_the_same_record(service: Service) -> None:
    expected = service.post("/predict", RECORD)[1]["probabilities"]
    turned = json.dumps(dict(reversed(RECORD.items())), indent=4).replace("petal_width", "petal\\u005fwidth")
    assert service.post("/predict", turned.encode())[1]["probabilities"] == expected


@pytest.mark.parametrize("path", TAKE_A_RECORD)
@pytest.mark.parametrize("bad", by_name(BAD_RECORDS))
def test_a_bad_record_is_refused_by_the_field(service: Service, path: str, bad: tuple[bytes, str]) -> None:
    body, field = bad
    assert refused(service, path, body) == (422, [field])


@pytest.mark.parametrize("bad", by_name(BAD_RECORDS))
def test_a_bad_row_is_refused_by_its_number_and_field(service: Service, bad: tuple[bytes, str]) -> None:
    body, field = bad
    assert refused(service, "/predict_batch", as_row(body)) == (422, [f"rows[1].{field}"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "rows"),
        (b'{"rows": null}', "rows"),
        (b'{"rows": {}}', "rows"),
        (b'{"rows": [5.1]}', "rows[0]"),
        (ROWS_BODY[:-1] + b', "more": 1}', "more"),
        (ROWS_BODY[:-1] + b', "rows": []}', "rows"),
    ],
)
def test_a_bad_batch_is_refused_by_the_field(service: Service, body: bytes, field: str) -> None:
    assert refused(service, "/predict_batch", body) == (422, [field])


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize("body", by_name(BAD_BODIES))
def test_a_body_that_is_no_object_is_refused_as_a_whole(service: Service, path: str, body: bytes) -> None:
    status, fields = refused(service, path, body)
    assert status == 422
    assert len(fields) >= 1
    assert set(fields) <= {"body", "\\ud800", *RECORD, "rows"}


def test_every_wrong_field_is_named_at_once(service: Service) -> None:
    body = b'{"sepal_length": "x", "sepal_width": NaN, "petal_length": 1.4, "colour": 1}'
    assert refused(service, "/predict", body)[1] == ["sepal_length", "sepal_width", "petal_width", "colour"]


def test_a_thousand_wrong_rows_get_a_short_answer(service: Service) -> None:
    status, fields = refused(service, "/predict_batch", json.dumps({"rows": [{}] * 1000}).encode())
    assert (status, len(fields)) == (422, 20)


def test_a_name_of_a_megabyte_gets_a_short_answer(service: Service) -> None:
    assert refused(service, "/predict", json.dumps({**RECORD, "x" * 2**20: 1}).encode())[0] == 422


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize("media_type", BAD_TYPES)
def test_what_is_no_json_is_refused_by_its_type(service: Service, path: str, media_type: str) -> None:
    assert refused(service, path, RECORD_BODY, media_type) == (415, [])


class Planted:
    """Unpickled, it would leave a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize("media_type", [PICKLE, "application/json"])
def test_a_pickle_is_never_loaded(service: Service, path: str, media_type: str, tmp_path: Path) -> None:
    status, _ = refused(service, path, pickle.dumps(Planted(tmp_path / "planted")), media_type)
    assert status == (415 if media_type == PICKLE else 422)
    headers = {"content_type": media_type, "Payload_Container": "pickle", "Buffer_Lengths": "1"}
    assert 400 <= service.ask("POST", path, pickle.dumps(Planted(tmp_path / "planted")), **headers)[0] < 500
    assert not (tmp_path / "planted").exists()


def raw(service: Service, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """The reply to bytes on a connection; the rest is not sent when the service hangs up."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass  # it has said what it has to say and reads no further
        response = HTTPResponse(connection)
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def head(path: str, *lines: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", *lines)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


TEN_MEGABYTES = RECORD_BODY[:-1] + b" " * 10 * 2**20 + b"}"


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize("chunked", [False, True])
def test_ten_megabytes_are_refused(service: Service, path: str, chunked: bool) -> None:
    if chunked:
        parts = [TEN_MEGABYTES[at : at + 2**16] for at in range(0, len(TEN_MEGABYTES), 2**16)]
        sent = [head(path, "transfer-encoding: chunked"), *(b"%x\r\n%b\r\n" % (len(p), p) for p in parts), b"0\r\n\r\n"]
    else:
        sent = [head(path, f"content-length: {len(TEN_MEGABYTES)}"), TEN_MEGABYTES]
    status, headers, body = raw(service, *sent)
    assert (status, headers["connection"]) == (413, "close")
    assert "RATCHET_MAX_BODY_BYTES" in json.loads(body)["error"]
    assert service.post("/predict", RECORD)[0] == 200


def test_a_body_in_small_chunks_is_read_whole(service: Service) -> None:
    chunks = [b"1\r\n%b\r\n" % RECORD_BODY[at : at + 1] for at in range(len(RECORD_BODY))]
    status, _, body = raw(service, head("/predict", "transfer-encoding: chunked"), *chunks, b"0\r\n\r\n")
    assert (status, json.loads(body)["prediction"]) == (200, "setosa")


def test_a_client_that_leaves_before_its_body_is_whole_harms_nobody(service: Service) -> None:
    before = service.metric("ratchet_errors_total", kind="client_left")
    for path in TAKE_A_BODY:
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
            connection.sendall(head(path, "content-length: 80") + RECORD_BODY[:10])
    service.until(lambda: service.metric("ratchet_errors_total", kind="client_left") == before + 3)
    assert service.post("/predict", RECORD)[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/nothing", "/predict/1", "/static_content/../../etc/passwd", "//predict"])
def test_an_unknown_path_is_not_found(service: Service, method: str, path: str) -> None:
    status, _, body = service.ask(method, path)
    assert status == 404 or (status == 405 and "static_content" in path)
    assert tells_nothing_of_the_inside(body)


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for path in TAKE_A_BODY for method in ("GET", "PUT", "DELETE", "PATCH")]
    + [
        (method, path)
        for path in ("/model", "/health", "/metrics", "/docs", "/docs.json")
        for method in ("POST", "PUT")
    ],
)
def test_another_method_is_not_allowed(service: Service, method: str, path: str) -> None:
    status, headers, body = service.ask(method, path)
    assert status == 405
    assert ("POST" if path in TAKE_A_BODY else "GET") in headers["allow"]
    assert tells_nothing_of_the_inside(body)


def test_what_is_no_http_is_refused(service: Service) -> None:
    status, _, body = raw(service, b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert status == 400
    assert tells_nothing_of_the_inside(body)
    assert service.post("/predict", RECORD)[0] == 200


@pytest.fixture(scope="module")
def impatient(
    service: Service, served_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service of another model with small limits."""
    limits = {"RATCHET_REQUEST_TIMEOUT": "1", "RATCHET_MAX_BODY_BYTES": "1024", "RATCHET_MAX_BATCH_ROWS": "3"}
    output = tmp_path_factory.mktemp("impatient") / "output"
    home = tmp_path_factory.mktemp("impatient-home")
    settings = Settings(home=home, models_dir=served_settings.models_dir, mlflow_uri=served_settings.tracking_uri)
    with serving(settings, service.get("/model")["name"], output, **limits) as running:
        yield running


@pytest.mark.parametrize("path", TAKE_A_BODY)
@pytest.mark.parametrize("begun", [b"", RECORD_BODY[:10]])
def test_a_body_that_does_not_come_is_waited_for_no_longer_than_configured(
    impatient: Service, path: str, begun: bytes
) -> None:
    status, headers, body = raw(impatient, head(path, f"content-length: {len(RECORD_BODY)}"), begun)
    assert (status, headers["connection"]) == (408, "close")
    assert "did not come within 1 s" in json.loads(body)["error"]
    assert impatient.post("/predict", RECORD)[0] == 200


def test_the_limits_are_those_of_the_settings(impatient: Service) -> None:
    assert refused(impatient, "/predict", RECORD_BODY + b" " * 1024) == (413, [])
    assert impatient.post("/predict_batch", {"rows": [RECORD] * 3})[0] == 200
    assert refused(impatient, "/predict_batch", json.dumps({"rows": [RECORD] * 4}).encode()) == (422, ["rows"])
    assert impatient.get("/schema.json")["routes"]


REQUESTS: list[tuple[str, str, bytes | None, dict[str, str]]] = [
    *((method, path, None, {}) for path in (*TAKE_A_BODY, *TAKE_FEEDBACK) for method in ("GET", "PUT", "OPTIONS")),
    *(
        ("GET", path, None, {})
        for path in ("/", "/docs", "/docs.json", "/schema.json", "/livez", "/readyz", "/nothing")
    ),
    ("POST", "/nothing", b"{}", {}),
    *(("POST", path, RECORD_BODY, {"content_type": kind}) for path in TAKE_A_BODY for kind in BAD_TYPES),
    *(("POST", path, RECORD_BODY, {}) for path in TAKE_A_RECORD),
    ("POST", "/predict_batch", ROWS_BODY, {}),
    ("POST", "/predict_batch", json.dumps({"rows": [RECORD] * 3}).encode(), {"content_type": "application/json"}),
    *(("POST", path, body, {}) for path in TAKE_A_RECORD for body, _ in BAD_RECORDS.values()),
    *(("POST", "/predict_batch", as_row(body), {}) for body, _ in BAD_RECORDS.values()),
    *(("POST", path, body, {}) for path in (*TAKE_A_BODY, *TAKE_FEEDBACK) for body in BAD_BODIES.values()),
    *(("POST", path, b"{}", {"content_type": kind}) for path in TAKE_FEEDBACK for kind in BAD_TYPES),
    *(("POST", path, b'{"prediction_id": "nothing"}', {}) for path in TAKE_FEEDBACK),
    ("POST", "/feedback", b'{"prediction_id": "nothing", "correct": true}', {}),
    ("POST", "/feedback_batch", b'{"feedback": [{"prediction_id": "nothing", "correct": true}, 5]}', {}),
    *((method, "/feedback/form?token=nothing", None, {}) for method in ("GET", "HEAD")),
    *(("POST", "/feedback/form", b"token=x", {"content_type": kind}) for kind in (FORM, "application/json")),
]
# Said by the reply itself and not by what carries it, such as its date.
SAID_BY_THE_REPLY = {"content-type", "location", "allow", "www-authenticate", "server"} | {
    name.decode() for name, _ in (*SECURITY, CLOSED_POLICY)
}


def comparable(reply: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], Any]:
    """A reply without what no two replies have in common."""
    status, headers, body = reply
    told = {name: value for name, value in headers.items() if name in SAID_BY_THE_REPLY}
    if headers.get("content-type") != "application/json":
        return status, told, body
    answer = json.loads(body)
    for said in (answer, *answer.get("predictions", ())) if isinstance(answer, dict) else ():
        if "prediction_id" in said:
            said["prediction_id"] = UUID(said["prediction_id"]).version
    return status, told, answer


@pytest.mark.slow
def test_bentoml_serve_answers_every_request_as_the_hot_path_does(
    service: Service, iris_models: tuple[Trained, Trained], tmp_path: Path, output: Path
) -> None:
    name = service.get("/model")["name"]
    settings = Settings(home=tmp_path / "home", models_dir=tmp_path / "models")
    version = publish(settings, name, iris_models[0])
    production_pointer(settings, name).promote(version, "first", "test")
    differences: list[Any] = []
    with serving(settings, name, output, bentoml=True) as other:
        for method, path, body, headers in REQUESTS:
            hot, plain = service.ask(method, path, body, **headers), other.ask(method, path, body, **headers)
            if comparable(plain) != comparable(hot):
                differences.append((method, path, body and body[:99], headers, comparable(plain), comparable(hot)))
        for path in TAKE_A_BODY:
            large = head(path, f"content-length: {len(TEN_MEGABYTES)}"), TEN_MEGABYTES
            assert comparable(raw(other, *large)) == comparable(raw(service, *large))
        own = dict.fromkeys(("mlflow_run_id", "digest", "lineage"))
        assert other.get("/model") | own == service.get("/model") | own
        assert other.get("/health").keys() == service.get("/health").keys()
        _, answer = other.post("/predict", RECORD)
        row = find_prediction(open_store(settings), answer["prediction_id"])
        assert row is not None
        assert row["features"] == RECORD
        said = {"prediction_id": answer["prediction_id"], "target": "virginica"}
        assert [other.post("/feedback", said)[0] for _ in range(2)] == [201, 200]
        assert other.post("/feedback", {**said, "target": "setosa"})[0] == 409
        link = other.post("/feedback/links", {"prediction_id": answer["prediction_id"]})[1]["url"]
        assert other.ask("GET", link)[0] == 200
    assert differences == []


def test_the_log_of_all_this_holds_no_traceback_and_no_failure(service: Service) -> None:
    told = service.output.read_text()
    assert "Traceback" not in told
    assert '"level": "error"' not in told
    assert service.metric("ratchet_errors_total", kind="internal") == 0
    assert str(ROOT) not in service.ask("GET", "/docs.json")[2].decode()
