"""A simulation against a faulty service: a small server with the answers that a test sets."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ratchet.config.files import parse_config
from ratchet.config.simulation import SimulationConfig
from ratchet.errors import ConfigError, InputError, UnavailableError
from simulation.client import Feedback, ServiceClient
from simulation.report import Report
from simulation.run import run_simulation
from tests.serving.running import free_port

Fault = Callable[[str, Any], tuple[int, dict[str, Any], dict[str, str]] | None]
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


class FaultyServer(ThreadingHTTPServer):
    """Answers as the service does, unless ``fault`` returns another answer."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fault: Fault = lambda _path, _body: None
        self.requests: list[tuple[str, Any]] = []
        self.keys: set[str | None] = set()
        self.model = "iris"
        self.version = "1"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def labels(self) -> list[dict[str, Any]]:
        """The labels that it received, in order."""
        found = []
        for path, body in self.requests:
            found += {"/feedback": lambda body=body: [body], "/feedback_batch": lambda body=body: body["feedback"]}.get(
                path, list
            )()
        return found

    def answer(self, path: str, body: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        self.requests.append((path, body))
        named = {"name": self.model, "version": self.version}
        answers: dict[str, Any] = {
            "/livez": dict,
            "/model": lambda: {**named, "signature": {"features": [{"name": name} for name in FEATURES]}},
            "/predict": lambda: {**self._row(), "model": named},
            "/predict_batch": lambda: {"predictions": [self._row() for _ in body["rows"]], "model": named},
            "/feedback": dict,
            "/feedback_batch": lambda: {"results": [{} for _ in body["feedback"]]},
        }
        return self.fault(path, body) or (200, answers[path](), {})

    def _row(self) -> dict[str, Any]:
        return {"prediction_id": f"id-{len(self.requests)}", "prediction": "setosa"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultyServer

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _answer(self, body: Any) -> None:
        self.server.keys.add(self.headers["x-api-key"])
        status, value, headers = self.server.answer(self.path, body)
        if status == 0:
            self.close_connection = True
            return
        text = json.dumps(value).encode()
        self.send_response(status)
        for name, given in {**headers, "content-length": str(len(text))}.items():
            self.send_header(name, given)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running
        running.shutdown()


def config(**sections: Any) -> SimulationConfig:
    given: dict[str, Any] = {
        "pipeline": "simulation",
        "model": "iris",
        "dataset": {"source": "sklearn", "name": "iris", "target": "species"},
        "stream": {"rows": 40},
        "labels": {"delay": 3},
        **sections,
    }
    return parse_config(given)


def simulated(
    server: FaultyServer, patience: float = 5.0, **sections: Any
) -> tuple[Report, list[dict[str, Any]], list[str]]:
    """The report, the lines of the record, and the progress lines."""
    lines: list[str] = []
    record = io.StringIO()
    client = ServiceClient(server.url, None, patience, lines.append)
    report = run_simulation(config(**sections), client, lines.append, record)
    return report, [json.loads(line) for line in record.getvalue().splitlines()], lines


def test_every_row_is_sent_once_and_recorded_with_its_answer(server: FaultyServer) -> None:
    report, rows, _ = simulated(server)
    assert report.rows == 40
    assert [row["index"] for row in rows] == list(range(40))
    assert len({row["prediction_id"] for row in rows}) == 40
    assert all((row["version"], row["prediction"]) == ("1", "setosa") for row in rows)


def test_every_label_is_sent_after_its_prediction_and_with_its_id(server: FaultyServer) -> None:
    _, rows, _ = simulated(server)
    truth = {row["prediction_id"]: row["label"] for row in rows}
    assert {label["prediction_id"]: label["target"] for label in server.labels()} == truth
    given = set()
    for place, (path, body) in enumerate(server.requests, start=1):
        if path == "/predict":
            given.add(f"id-{place}")
        elif path == "/feedback":
            assert body["prediction_id"] in given


def test_a_label_is_sent_after_the_answer_of_its_row(server: FaultyServer) -> None:
    _, rows, _ = simulated(server, labels={"delay": 5})
    due = {row["prediction_id"]: row["label_after"] for row in rows}
    answered = -1
    for path, body in server.requests:
        if path == "/predict":
            answered += 1
        elif path == "/feedback" and answered < 39:
            assert due[body["prediction_id"]] == answered


def test_batches_use_the_batch_routes(server: FaultyServer) -> None:
    report, _, _ = simulated(server, stream={"rows": 45, "batch": 10}, labels={"delay": 0})
    assert [len(body["rows"]) for path, body in server.requests if path == "/predict_batch"] == [10, 10, 10, 10, 5]
    assert report.labels == len(server.labels()) == 45


def test_the_rate_is_kept(server: FaultyServer) -> None:
    report, _, _ = simulated(server, stream={"rows": 20, "rate": 100})
    assert 0.19 <= report.seconds < 10


def test_an_unavailable_service_is_retried_after_its_retry_after(server: FaultyServer) -> None:
    troubles = iter([503, 503])
    server.fault = lambda path, _: (
        (status, {"error": "the store is down"}, {"retry-after": "0"})
        if path == "/predict" and (status := next(troubles, None))
        else None
    )
    report, rows, lines = simulated(server)
    assert (report.rows, report.labels) == (40, 40)
    assert [row["index"] for row in rows] == list(range(40))
    assert any("the store is down; retrying for up to 5 s" in line for line in lines)


@pytest.mark.parametrize("path", ["/predict", "/feedback"])
def test_a_broken_connection_is_opened_again(server: FaultyServer, path: str) -> None:
    broken = iter([True])
    server.fault = lambda asked, _: (0, {}, {}) if asked == path and next(broken, False) else None
    report, _, lines = simulated(server)
    assert (report.rows, report.labels, report.labels_refused) == (40, 40, 0)
    assert lines == ["Remote end closed connection without response; retrying for up to 5 s"]


def test_a_service_that_is_killed_and_comes_back_does_not_end_the_simulation() -> None:
    port = free_port()
    first, later = FaultyServer(port), []

    def restart(path: str, _: Any) -> None:
        if path == "/predict" and len(first.requests) > 20 and not later:
            later.append(threading.Timer(0.3, lambda: later.append(FaultyServer(port))))
            threading.Thread(target=first.shutdown).start()
            first.server_close()
            later[0].start()

    first.fault = restart
    try:
        report, rows, _ = simulated(first, stream={"rows": 40, "rate": 40})
    finally:
        for one in later[1:]:
            one.shutdown()
            one.server_close()
    assert report.rows == 40
    assert [row["index"] for row in rows] == list(range(40))


def test_a_service_that_stays_unavailable_is_one_error_after_the_patience(server: FaultyServer) -> None:
    server.fault = lambda path, _: (503, {"error": "no model"}, {}) if path == "/predict" else None
    with pytest.raises(UnavailableError, match=r"did not answer for 0\.3 s: /predict: 503 no model"):
        simulated(server, patience=0.3)


def test_refused_rows_are_counted_with_the_reason_and_the_stream_continues(server: FaultyServer) -> None:
    refusal = {"error": "invalid input", "details": [{"field": "sepal_length", "message": "at most 5"}]}
    server.fault = lambda path, body: (422, refusal, {}) if path == "/predict" and body["sepal_length"] > 5 else None
    report, rows, _ = simulated(server)
    assert report.refused > 0
    assert report.rows + report.refused == 40
    assert report.rows == len(rows) == report.labels
    assert "sepal_length: at most 5" in report.refusals[0]


@pytest.mark.parametrize("status", [404, 409, 422])
def test_a_label_that_the_service_refuses_is_counted(server: FaultyServer, status: int) -> None:
    server.fault = lambda path, _: (status, {"error": "not so"}, {}) if path == "/feedback" else None
    report, _, _ = simulated(server, labels={"delay": 0})
    assert (report.labels, report.labels_refused) == (0, 40)
    assert report.refusals == ("label: /feedback: not so",)


def test_labels_that_are_refused_in_a_batch_are_counted_one_by_one(server: FaultyServer) -> None:
    server.fault = lambda path, body: (
        (200, {"results": [{"error": "unknown"}, *({} for _ in body["feedback"][1:])]}, {})
        if path == "/feedback_batch"
        else None
    )
    report, _, _ = simulated(server, stream={"rows": 30, "batch": 10}, labels={"delay": 0})
    assert (report.labels, report.labels_refused) == (27, 3)


def test_metrics_are_separate_before_and_after_the_drift_and_by_version(server: FaultyServer) -> None:
    def swap(path: str, _: Any) -> None:
        if path == "/predict" and sum(asked == "/predict" for asked, _ in server.requests) == 30:
            server.version = "2"

    server.fault = swap
    drift = [{"kind": "class_prior", "at": 20, "priors": {"setosa": 1.0}}]
    report, rows, _ = simulated(server, drift=drift)
    found = [(one.phase, one.version, one.first, one.last, one.rows) for one in report.segments]
    assert found == [
        ("before", "1", 0, 19, 20),
        ("class_prior at 20", "1", 20, 29, 10),
        ("class_prior at 20", "2", 30, 39, 10),
    ]
    right = sum(row["truth"] == "setosa" for row in rows[:20]) / 20
    assert report.segments[0].figures["accuracy"] == pytest.approx(right)
    assert report.segments[1].figures == {"accuracy": 1.0, "f1_macro": 1.0}


def test_a_regression_has_its_own_metrics(server: FaultyServer) -> None:
    diabetes = {"source": "sklearn", "name": "diabetes", "target": "progression"}
    features = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
    server.fault = lambda path, _: {
        "/model": (
            200,
            {"name": "iris", "version": "1", "signature": {"features": [{"name": name} for name in features]}},
            {},
        ),
        "/predict": (200, {"prediction_id": "x", "prediction": 150.0, "model": {"version": "1"}}, {}),
    }.get(path)
    report, _, _ = simulated(server, task="regression", dataset=diabetes)
    assert set(report.segments[0].figures) == {"rmse", "mae"}
    assert 20 < report.segments[0].figures["mae"] < 120


def test_a_progress_line_is_printed_every_hundred_rows(server: FaultyServer) -> None:
    _, _, lines = simulated(server, stream={"rows": 250})
    assert [line.partition(":")[0] for line in lines] == ["row 100", "row 200"]
    assert lines[0].endswith("of the last 100, version 1")


def test_ctrl_c_ends_with_a_report_so_far(server: FaultyServer) -> None:
    def interrupt(client: ServiceClient) -> Any:
        ask = client.predict

        def predict(records: Any) -> Any:
            if len(server.requests) > 30:
                raise KeyboardInterrupt
            return ask(records)

        return predict

    client = ServiceClient(server.url)
    client.predict = interrupt(client)  # type: ignore[method-assign]
    report = run_simulation(config(), client, print)
    assert report.interrupted
    assert 0 < report.rows < 40


def test_the_key_is_sent(server: FaultyServer) -> None:
    ServiceClient(server.url, "a-secret-of-sixteen").model()
    assert server.keys == {"a-secret-of-sixteen"}


def test_a_missing_service_is_an_error_without_retries() -> None:
    client = ServiceClient(f"http://127.0.0.1:{free_port()}", patience=30)
    with pytest.raises(
        ConfigError, match=r"no service at .* \(Connection refused\): start one with python run.py serve"
    ):
        client.model()


@pytest.mark.parametrize(
    ("status", "value", "message"),
    [
        (401, {"error": "an API key is needed"}, "requires an API key: set RATCHET_API_KEYS"),
        (404, None, "answered 404, this is not a service of Ratchet"),
        (200, {"hello": "world"}, "this is not a service of Ratchet"),
        (200, {"name": "wine", "version": "1", "signature": {"features": []}}, "serves 'wine', the config simulates"),
        (
            200,
            {"name": "iris", "version": "3", "signature": {"features": [{"name": "age"}]}},
            "its features are not those of iris version 3: age, petal_length",
        ),
    ],
)
def test_another_service_is_refused_before_a_row_is_sent(
    server: FaultyServer, status: int, value: Any, message: str
) -> None:
    server.fault = lambda path, _: (status, value, {}) if path == "/model" else None
    with pytest.raises(ConfigError, match=message):
        simulated(server)
    assert "/predict" not in dict(server.requests)


def test_a_request_that_is_too_large_names_the_config_key(server: FaultyServer) -> None:
    server.fault = lambda path, _: (413, {"error": "too large"}, {}) if path == "/predict_batch" else None
    with pytest.raises(ConfigError, match=r"lower stream\.batch"):
        simulated(server, stream={"rows": 40, "batch": 20})


def test_a_refused_record_is_an_input_error(server: FaultyServer) -> None:
    server.fault = lambda path, _: (422, {"error": "no"}, {}) if path == "/predict" else None
    with pytest.raises(InputError, match="/predict: no"):
        ServiceClient(server.url).predict([{"sepal_length": 1.0}])


def test_without_labels_no_request_is_sent(server: FaultyServer) -> None:
    assert ServiceClient(server.url).feedback([]) == []
    assert ServiceClient(server.url).feedback([Feedback("a", "b")]) == []
    assert [path for path, _ in server.requests] == ["/feedback"]
