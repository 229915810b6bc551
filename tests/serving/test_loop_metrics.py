"""What the loop has found, in the service's metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ratchet.drift.report import DriftReport
from ratchet.loop.quality import Quality
from ratchet.loop.training_runs import TrainingRuns
from ratchet.loop.windows import Span, record_drift_window, record_quality
from ratchet.settings import Settings
from ratchet.store import Store, open_store
from serving.loop_metrics import LoopCollector
from tests.serving.running import Service


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(Settings(home=tmp_path))
    yield opened
    opened.engine.dispose()


def text(store: Store, model: str) -> str:
    registry = CollectorRegistry()
    registry.register(LoopCollector(lambda: store, lambda: model))
    return generate_latest(registry).decode()


def test_before_anything_was_found_the_gauges_have_no_series_but_the_labels_that_wait(store: Store) -> None:
    said = [line for line in text(store, "iris").splitlines() if not line.startswith("#")]
    assert said == ['ratchet_labels_waiting{model="iris"} 0.0']


def test_while_nothing_is_served_there_is_nothing_to_tell(store: Store) -> None:
    assert text(store, "").strip() == ""


def test_the_newest_windows_and_runs_are_told(store: Store) -> None:
    report = DriftReport(reference="3", method="psi", figures={"petal_width": 0.5}, share=0.25, n_rows=120)
    record_drift_window(store, "iris", "3", report, Span("a", "b"))
    found = Quality(version="3", metric="f1_macro", value=0.8, low=0.7, high=0.9, n_rows=50, estimate=0.85, reason="r")
    record_quality(store, "iris", found, 7)
    runs = TrainingRuns(store, "iris")
    run = runs.open(0, "x", "r")
    assert run is not None
    runs.end(run, "refused", "not better")
    said = text(store, "iris")
    assert 'ratchet_drift_share{model="iris",version="3"} 0.25' in said
    assert 'ratchet_drift_figure{feature="petal_width",model="iris",version="3"} 0.5' in said
    assert 'ratchet_drift_detected{model="iris",version="3"} 0.0' in said
    for figure, value in {"value": 0.8, "low": 0.7, "high": 0.9, "estimate": 0.85}.items():
        assert f'figure="{figure}",metric="f1_macro",model="iris",version="3"}} {value}' in said
    assert 'ratchet_training_run_timestamp_seconds{model="iris",state="refused"}' in said


def test_the_service_tells_them_beside_its_own(service: Service) -> None:
    said = service.ask("GET", "/metrics")[2].decode()
    assert "ratchet_labels_waiting{" in said
    assert "ratchet_requests_total{" in said
