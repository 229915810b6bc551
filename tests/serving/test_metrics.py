"""Metrics, log lines and latency of the service, over both workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ratchet.settings import Settings
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.running import NOTICES, RECORD, Service, serving

VIRGINICA = {"sepal_length": 7.9, "sepal_width": 3.8, "petal_length": 6.4, "petal_width": 2.0}
ONE_BY_ONE, BATCHES, ROWS = 40, 3, 5
KINDS = {
    "counter": "requests errors predictions swaps swap_failures",
    "histogram": "request_seconds prediction_score",
    "gauge": "requests_in_flight log_queue_depth store_down served_version drift_share drift_detected drift_figure"
    " drift_window_timestamp_seconds live_quality live_quality_timestamp_seconds live_quality_dropped label_bias"
    " labels_waiting training_run_timestamp_seconds training_runs training_triggers watch_timestamp_seconds"
    " watch_interval_seconds promotions production_version production_moved_outside label_to_version_seconds"
    " disk_free_bytes disk_size_bytes journal_bad_rows",
}


@pytest.fixture(scope="module")
def counted(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service after a known number of requests, on so many connections that each worker has some."""
    pointer = published(served_settings, iris_models[0])
    output = tmp_path_factory.mktemp("counted") / "output"
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
        assert running.request("GET", "/nothing/at/all")[0] == 404
        running.until(lambda: running.metric("ratchet_requests_total", route="/predict") == ONE_BY_ONE + 4)
        running.until(lambda: running.metric("ratchet_predictions_total") == ONE_BY_ONE + BATCHES * ROWS)
        running.until(lambda: running.metric("ratchet_requests_total", route="/predict_batch") == BATCHES)
        running.until(lambda: running.metric("ratchet_requests_total", route="/explain") == 2)
        yield running


def families(service: Service) -> dict[str, Any]:
    """The metrics by name, read by the parser of Prometheus."""
    text = service.request("GET", "/metrics")[2].decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(service: Service, name: str, **labels: str) -> list[Any]:
    found = [sample for family in families(service).values() for sample in family.samples if sample.name == name]
    return [sample for sample in found if labels.items() <= sample.labels.items()]


def test_each_prediction_is_logged_once(counted: Service) -> None:
    ids = [line["prediction_id"] for line in logged(counted, "prediction")]
    assert len(ids) == len(set(ids)) == ONE_BY_ONE


def test_prometheus_parses_every_metric(counted: Service) -> None:
    found = families(counted)
    kinds = {kind: {name for name in found if found[name].type == kind} for kind in ("counter", "histogram", "gauge")}
    assert kinds == {kind: {f"ratchet_{name}" for name in names.split()} for kind, names in KINDS.items()}
    assert len(found) == sum(map(len, kinds.values()))
    assert all(family.documentation for family in found.values())
    series = [(sample.name, *sorted(sample.labels.items())) for family in found.values() for sample in family.samples]
    assert len(series) == len(set(series))


def test_requests_are_counted_by_route_and_status(counted: Service) -> None:
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
        assert counted.metric("ratchet_requests_total", route=route, status=status) == count, (route, status)


def test_an_unknown_path_adds_no_series(counted: Service) -> None:
    for number in range(5):
        counted.request("GET", f"/unknown-{number}")
    routes = {sample.labels["route"] for sample in samples(counted, "ratchet_requests_total")}
    assert routes <= {"/predict", "/predict_batch", "/explain", "/livez", "/readyz", "/health", "/metrics", "other"}


def test_predictions_are_counted_by_class(counted: Service) -> None:
    setosa = ONE_BY_ONE * 3 // 4 + BATCHES * (ROWS - 1)
    found = {s.labels["label"]: s.value for s in samples(counted, "ratchet_predictions_total")}
    assert found == {"setosa": setosa, "virginica": ONE_BY_ONE // 4 + BATCHES}
    model = counted.get("/model")["name"]
    assert counted.metric("ratchet_predictions_total", model=model, version="1") == sum(found.values())


def test_errors_are_counted_by_kind(counted: Service) -> None:
    found = {sample.labels["kind"]: sample.value for sample in samples(counted, "ratchet_errors_total")}
    assert found == {"input": 4, "media_type": 1}


def test_the_latency_histogram_counts_every_request_once(counted: Service) -> None:
    for route, count in (("/predict", ONE_BY_ONE + 4), ("/predict_batch", BATCHES), ("/explain", 2)):
        assert counted.metric("ratchet_request_seconds_count", route=route) == count
        buckets = samples(counted, "ratchet_request_seconds_bucket", route=route)
        values = [bucket.value for bucket in sorted(buckets, key=lambda bucket: float(bucket.labels["le"]))]
        assert values == sorted(values)
        assert values[-1] == count
        assert 0 < counted.metric("ratchet_request_seconds_sum", route=route) < 30


def test_the_score_histogram_counts_every_prediction_once(counted: Service) -> None:
    count = ONE_BY_ONE + BATCHES * ROWS
    assert counted.metric("ratchet_prediction_score_count") == count
    assert counted.metric("ratchet_prediction_score_bucket", le="+Inf") == count
    assert counted.metric("ratchet_prediction_score_bucket", le="0.3") == 0, (
        "the most probable of three classes has at least a third"
    )
    assert count / 3 <= counted.metric("ratchet_prediction_score_sum") <= count


def test_each_worker_exports_the_version_that_it_serves(counted: Service) -> None:
    found = samples(counted, "ratchet_served_version", model=counted.get("/model")["name"])
    assert {int(sample.labels["pid"]) for sample in found} == set(counted.workers)
    assert [sample.value for sample in found] == [1, 1]
    assert counted.metric("ratchet_swaps_total") == 2


def test_an_idle_service_has_no_request_in_flight_and_an_empty_queue(counted: Service) -> None:
    counted.until(lambda: counted.metric("ratchet_requests_in_flight") == 0)
    counted.until(lambda: counted.metric("ratchet_log_queue_depth") == 0)
    assert counted.metric("ratchet_store_down") == 0
    failures = {s.labels["reason"]: s.value for s in samples(counted, "ratchet_swap_failures_total")}
    assert failures == {"package": 0, "registry": 0, "unexpected": 0}


def test_health_merges_the_latencies_of_both_workers(counted: Service) -> None:
    for _ in range(60):
        counted.post("/predict", RECORD)
        counted.request("GET", "/livez")  # not part of the latency

    def answers() -> float:
        routes = ("/predict", "/predict_batch", "/explain")
        return sum(counted.metric("ratchet_requests_total", route=route, status="200") for route in routes)

    counted.until(lambda: counted.get("/health")["latency_ms"]["requests"] == answers() >= 60)
    latency = counted.get("/health")["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] < 60_000


def logged(service: Service, event: str) -> list[dict[str, Any]]:
    """The log lines of an event; every line but those about the start is JSON."""
    output = service.output.read_text().splitlines()
    lines = [json.loads(line) for line in output if not line.startswith(NOTICES)]
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    return [line for line in lines if line["event"] == event]


def test_the_log_line_of_a_prediction_has_no_features(service: Service) -> None:
    record = {**RECORD, "sepal_length": 5.123456}
    _, answer = service.post("/predict", record)
    service.until(lambda: answer["prediction_id"] in service.output.read_text())
    [line] = [line for line in logged(service, "prediction") if line["prediction_id"] == answer["prediction_id"]]
    assert line.keys() == {"time", "level", "event", "prediction_id", "model", "version", "latency_ms"}
    assert (line["level"], line["version"]) == ("info", "1")
    assert line["model"] == answer["model"]["name"]
    assert 0 < line["latency_ms"] < 10_000
    assert "5.123456" not in service.output.read_text()


def test_the_log_line_of_a_batch_has_its_first_and_last_id(service: Service) -> None:
    _, answer = service.post("/predict_batch", {"rows": [{**RECORD, "sepal_length": 5.654321}] * 3})
    ids = [found["prediction_id"] for found in answer["predictions"]]
    service.until(lambda: ids[0] in service.output.read_text())
    [line] = [line for line in logged(service, "predictions") if line["prediction_id"] == ids[0]]
    assert (line["last_prediction_id"], line["count"]) == (ids[-1], 3)
    assert "5.654321" not in service.output.read_text()


def test_the_values_of_invalid_records_are_not_logged(service: Service) -> None:
    assert service.post("/predict", {**RECORD, "sepal_length": "a-secret-value"})[0] == 422
    assert service.post("/predict", {**RECORD, "a-secret-name": 1})[0] == 422
    service.post("/predict", RECORD)
    assert "a-secret" not in service.output.read_text()


def test_features_are_logged_if_configured(counted: Service) -> None:
    lines = logged(counted, "prediction")
    assert [line["features"] for line in lines if line["features"] != RECORD] == [VIRGINICA] * (ONE_BY_ONE // 4)
    batches = logged(counted, "predictions")
    assert [line["features"] for line in batches] == [[RECORD] * (ROWS - 1) + [VIRGINICA]] * BATCHES


def test_after_a_worker_was_killed_its_counts_remain_and_its_gauges_do_not(counted: Service) -> None:
    names = ("ratchet_requests_total", "ratchet_request_seconds_count", "ratchet_request_seconds_sum")

    def counts() -> list[float]:
        return [counted.metric(name, route="/predict") for name in names]

    before, (victim, survivor) = counts(), counted.workers
    os.kill(victim, signal.SIGKILL)
    counted.until(lambda: len(set(counted.workers) - {victim}) == 2)
    assert counts() == before

    def exported() -> set[int]:
        return {int(sample.labels["pid"]) for sample in samples(counted, "ratchet_served_version")}

    counted.until(lambda: exported() == set(counted.workers) > {survivor})
