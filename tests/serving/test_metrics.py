"""What the service tells of itself, over both of its workers: metrics, log lines and health."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ratchet.settings import Settings
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.running import RECORD, Service, serving

VIRGINICA = {"sepal_length": 7.9, "sepal_width": 3.8, "petal_length": 6.4, "petal_width": 2.0}
ONE_BY_ONE, BATCHES, ROWS = 40, 3, 5


@pytest.fixture(scope="module")
def asked(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that has been asked a known number of times, on so many connections that both workers got some."""
    pointer = published(served_settings, iris_models[0])
    output = tmp_path_factory.mktemp("asked") / "output"
    with serving(served_settings, pointer.model, output, RATCHET_LOG_FEATURES="true") as running:
        for number in range(ONE_BY_ONE):
            assert running.post("/predict", VIRGINICA if number % 4 == 0 else RECORD)[0] == 200
        for _ in range(BATCHES):
            assert running.post("/predict_batch", {"rows": [RECORD] * (ROWS - 1) + [VIRGINICA]})[0] == 200
        assert running.post("/explain", RECORD)[0] == 200
        for _ in range(3):
            assert running.post("/predict", {})[0] == 422
        assert running.post("/predict", RECORD, content_type="text/plain")[0] == 415
        assert running.post("/explain", {})[0] == 422
        assert running.ask("GET", "/nothing/at/all")[0] == 404
        running.until(lambda: total(running, "ratchet_requests_total", route="/predict") == ONE_BY_ONE + 4)
        running.until(lambda: total(running, "ratchet_predictions_total") == ONE_BY_ONE + BATCHES * ROWS)
        running.until(lambda: total(running, "ratchet_requests_total", route="/predict_batch") == BATCHES)
        running.until(lambda: total(running, "ratchet_requests_total", route="/explain") == 2)
        yield running


def families(service: Service) -> dict[str, Any]:
    """The metrics by name, as Prometheus' own parser reads them."""
    text = service.ask("GET", "/metrics")[2].decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(service: Service, name: str, **labels: str) -> list[Any]:
    found = [sample for family in families(service).values() for sample in family.samples if sample.name == name]
    return [sample for sample in found if labels.items() <= sample.labels.items()]


def total(service: Service, name: str, **labels: str) -> float:
    return sum(sample.value for sample in samples(service, name, **labels))


def test_each_prediction_is_logged_once(asked: Service) -> None:
    ids = [line["prediction_id"] for line in logged(asked, "prediction")]
    assert len(ids) == len(set(ids)) == ONE_BY_ONE


def test_prometheus_reads_every_metric(asked: Service) -> None:
    found = families(asked)
    kinds = {name: family.type for name, family in found.items()}
    assert kinds == {
        "ratchet_requests": "counter",
        "ratchet_request_seconds": "histogram",
        "ratchet_requests_in_flight": "gauge",
        "ratchet_errors": "counter",
        "ratchet_predictions": "counter",
        "ratchet_prediction_score": "histogram",
        "ratchet_log_queue_depth": "gauge",
        "ratchet_store_down": "gauge",
        "ratchet_served_version": "gauge",
        "ratchet_swaps": "counter",
        "ratchet_swap_failures": "counter",
        "ratchet_drift_share": "gauge",
        "ratchet_drift_detected": "gauge",
        "ratchet_drift_figure": "gauge",
        "ratchet_drift_window_timestamp_seconds": "gauge",
        "ratchet_live_quality": "gauge",
        "ratchet_live_quality_timestamp_seconds": "gauge",
        "ratchet_labels_waiting": "gauge",
        "ratchet_live_quality_dropped": "gauge",
        "ratchet_training_run_timestamp_seconds": "gauge",
        "ratchet_training_runs": "gauge",
        "ratchet_training_triggers": "gauge",
        "ratchet_watch_timestamp_seconds": "gauge",
        "ratchet_watch_interval_seconds": "gauge",
        "ratchet_promotions": "gauge",
        "ratchet_production_version": "gauge",
        "ratchet_label_to_version_seconds": "gauge",
        "ratchet_disk_free_bytes": "gauge",
        "ratchet_disk_size_bytes": "gauge",
    }
    assert all(family.documentation for family in found.values())
    series = [(sample.name, *sorted(sample.labels.items())) for family in found.values() for sample in family.samples]
    assert len(series) == len(set(series))


def test_requests_are_counted_by_route_and_status(asked: Service) -> None:
    expected = {
        ("/predict", "200"): ONE_BY_ONE,
        ("/predict", "422"): 3,
        ("/predict", "415"): 1,
        ("/predict_batch", "200"): BATCHES,
        ("/explain", "200"): 1,
        ("/explain", "422"): 1,
        ("other", "404"): 1,
    }
    for (route, status), count in expected.items():
        assert total(asked, "ratchet_requests_total", route=route, status=status) == count, (route, status)


def test_a_route_that_nobody_has_named_makes_no_series(asked: Service) -> None:
    for number in range(5):
        asked.ask("GET", f"/unknown-{number}")
    routes = {sample.labels["route"] for sample in samples(asked, "ratchet_requests_total")}
    assert routes <= {"/predict", "/predict_batch", "/explain", "/livez", "/readyz", "/health", "/metrics", "other"}


def test_predictions_are_counted_by_class(asked: Service) -> None:
    setosa = ONE_BY_ONE * 3 // 4 + BATCHES * (ROWS - 1)
    found = {s.labels["label"]: s.value for s in samples(asked, "ratchet_predictions_total")}
    assert found == {"setosa": setosa, "virginica": ONE_BY_ONE // 4 + BATCHES}
    model = asked.get("/model")["name"]
    assert total(asked, "ratchet_predictions_total", model=model, version="1") == sum(found.values())


def test_errors_are_counted_by_kind(asked: Service) -> None:
    found = {sample.labels["kind"]: sample.value for sample in samples(asked, "ratchet_errors_total")}
    assert found == {"input": 4, "media_type": 1}


def test_the_latency_histogram_counts_every_request_once(asked: Service) -> None:
    for route, count in (("/predict", ONE_BY_ONE + 4), ("/predict_batch", BATCHES), ("/explain", 2)):
        assert total(asked, "ratchet_request_seconds_count", route=route) == count
        buckets = samples(asked, "ratchet_request_seconds_bucket", route=route)
        values = [bucket.value for bucket in sorted(buckets, key=lambda bucket: float(bucket.labels["le"]))]
        assert values == sorted(values)
        assert values[-1] == count
        assert 0 < total(asked, "ratchet_request_seconds_sum", route=route) < 30


def test_the_score_histogram_counts_every_prediction_once(asked: Service) -> None:
    count = ONE_BY_ONE + BATCHES * ROWS
    assert total(asked, "ratchet_prediction_score_count") == count
    assert total(asked, "ratchet_prediction_score_bucket", le="+Inf") == count
    assert total(asked, "ratchet_prediction_score_bucket", le="0.3") == 0, "the best of three has a third at least"
    assert count / 3 <= total(asked, "ratchet_prediction_score_sum") <= count


def test_each_worker_shows_the_version_that_it_serves(asked: Service) -> None:
    found = samples(asked, "ratchet_served_version", model=asked.get("/model")["name"])
    assert {int(sample.labels["pid"]) for sample in found} == set(asked.workers)
    assert [sample.value for sample in found] == [1, 1]
    assert total(asked, "ratchet_swaps_total") == 2


def test_an_idle_service_has_nothing_in_flight_and_nothing_waiting(asked: Service) -> None:
    asked.until(lambda: total(asked, "ratchet_requests_in_flight") == 0)
    asked.until(lambda: total(asked, "ratchet_log_queue_depth") == 0)
    assert total(asked, "ratchet_store_down") == 0
    alarms = {s.labels["reason"]: s.value for s in samples(asked, "ratchet_swap_failures_total")}
    assert alarms == {"package": 0, "registry": 0, "unexpected": 0}


def test_health_adds_up_the_latencies_of_what_both_workers_answered(asked: Service) -> None:
    for _ in range(60):
        asked.post("/predict", RECORD)
        asked.ask("GET", "/livez")  # probes are none of it

    def answers() -> float:
        routes = ("/predict", "/predict_batch", "/explain")
        return sum(total(asked, "ratchet_requests_total", route=route, status="200") for route in routes)

    asked.until(lambda: asked.get("/health")["latency_ms"]["requests"] == answers() >= 60)
    latency = asked.get("/health")["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] < 60_000


def logged(service: Service, event: str) -> list[dict[str, Any]]:
    """The log's lines of a kind; every line has to be JSON, but for the one that tells a person the address."""
    said = [line for line in service.output.read_text().splitlines() if not line.startswith("serving on http://")]
    lines = [json.loads(line) for line in said]
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    return [line for line in lines if line["event"] == event]


def test_each_prediction_gets_a_log_line_without_its_features(service: Service) -> None:
    record = {**RECORD, "sepal_length": 5.123456}
    _, answer = service.post("/predict", record)
    service.until(lambda: answer["prediction_id"] in service.output.read_text())
    [line] = [line for line in logged(service, "prediction") if line["prediction_id"] == answer["prediction_id"]]
    assert line.keys() == {"time", "level", "event", "prediction_id", "model", "version", "latency_ms"}
    assert (line["level"], line["version"]) == ("info", "1")
    assert line["model"] == answer["model"]["name"]
    assert 0 < line["latency_ms"] < 10_000
    assert "5.123456" not in service.output.read_text()


def test_a_batch_gets_one_line_with_its_first_and_last_id(service: Service) -> None:
    _, answer = service.post("/predict_batch", {"rows": [{**RECORD, "sepal_length": 5.654321}] * 3})
    ids = [said["prediction_id"] for said in answer["predictions"]]
    service.until(lambda: ids[0] in service.output.read_text())
    [line] = [line for line in logged(service, "predictions") if line["prediction_id"] == ids[0]]
    assert (line["last_prediction_id"], line["count"]) == (ids[-1], 3)
    assert "5.654321" not in service.output.read_text()


def test_what_is_refused_leaves_no_value_in_the_log(service: Service) -> None:
    assert service.post("/predict", {**RECORD, "sepal_length": "a-secret-value"})[0] == 422
    assert service.post("/predict", {**RECORD, "a-secret-name": 1})[0] == 422
    service.post("/predict", RECORD)
    assert "a-secret" not in service.output.read_text()


def test_features_are_logged_where_the_operator_wants_them(asked: Service) -> None:
    lines = logged(asked, "prediction")
    assert [line["features"] for line in lines if line["features"] != RECORD] == [VIRGINICA] * (ONE_BY_ONE // 4)
    batches = logged(asked, "predictions")
    assert [line["features"] for line in batches] == [[RECORD] * (ROWS - 1) + [VIRGINICA]] * BATCHES
