"""A service under load with all that a loop leaves behind, so that every metric has data."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from ratchet.loop.heartbeat import beat
from ratchet.loop.training_runs import TrainingRuns
from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.label_bias import LabelCheck
from ratchet.monitoring.live_quality import Quality
from ratchet.monitoring.production_rows import watermark
from ratchet.monitoring.windows import record_drift_window, record_label_check, record_quality
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import Store
from tests.monitoring.prometheus import Prometheus
from tests.serving.load import load_on
from tests.serving.running import RECORD, Service

KEY = "a-key-of-the-tests"
VERSICOLOR = {"sepal_length": 6.0, "sepal_width": 2.7, "petal_length": 4.3, "petal_width": 1.3}
VIRGINICA = {"sepal_length": 7.9, "sepal_width": 3.8, "petal_length": 6.4, "petal_width": 2.0}
FEATURES = tuple(RECORD)
_PAUSE = 0.3


@dataclass(frozen=True)
class World:
    """A service that Prometheus scrapes.

    Attributes
    ----------
    settings: where its stores are.
    model: the registered model's name; versions 1, 2 and 3, and the last in Production.
    store: the service's store.
    service: the service itself, which asks for ``KEY``.
    prometheus: what scrapes it.
    began: when, in seconds since the epoch.
    """

    settings: Settings
    model: str
    store: Store
    service: Service
    prometheus: Prometheus
    began: float


@contextlib.contextmanager
def under_load(service: Service, folder: Path) -> Iterator[None]:
    """Keep requests of all kinds coming for the time of a block: good ones, bad ones, feedback."""
    done = threading.Event()
    thread = threading.Thread(target=_chat, args=(service, done), daemon=True)
    with load_on(service.port, folder / "load.jsonl", connections=2, rate=10, key=KEY):
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def live(pointer: ProductionPointer, service: Service, store: Store) -> None:
    """What a few days bring: a promotion, a rollback, windows, refused, failed and promoted runs, a look."""
    pointer.promote("2", "better", "test")
    until_served(service, "2")
    pointer.rollback("worse on Mondays", "test")
    until_served(service, "1")
    store_verdict(store, pointer.model, "1")
    store_label_check(store, pointer.model, "all")
    runs = TrainingRuns(store, pointer.model)
    for number, state in enumerate(("refused", "failed"), 1):
        run = runs.open(number, "config", f"cron: due at {number}", triggers=["cron"])
        assert run is not None
        runs.end(runs.begin(run, run.config_hash), state, "a test")  # type: ignore[arg-type]
    service.until(lambda: watermark(store, pointer.model) > 3)
    mark = watermark(store, pointer.model)
    run = runs.open(mark, "config", "drift, and 4 new labels", triggers=["drift", "every_k_labels"])
    assert run is not None
    run = runs.begin(run, run.config_hash)
    pointer.refuse("2", "no better", "test", [])
    pointer.promote("3", "the loop", "test", operation_id=run.operation_id)
    until_served(service, "3")
    runs.end(run, "promoted", "better", version="3")
    store_verdict(store, pointer.model, "3")
    beat(store, pointer.model, interval=10.0)


def store_verdict(store: Store, model: str, version: str, *, drifted: bool = False, dropped: bool = False) -> None:
    """Write down a window of drift and one of quality, as triggers do."""
    now = f"{time.time_ns():036d}"
    figures = dict.fromkeys(FEATURES, 0.05) | {"petal_width": 0.9 if drifted else 0.1}
    share = 0.75 if drifted else 0.25
    report = DriftReport(
        reference=version, method="psi", figures=figures, share=share, detected=drifted, n_rows=200, level=0.01
    )
    assert record_drift_window(store, model, version, report, now, now)
    value = 0.6 if dropped else 0.93
    found = Quality(
        version=version,
        metric="f1_macro",
        value=value,
        low=value - 0.05,
        high=value + 0.04,
        baseline=0.95,
        dropped=dropped,
        n_rows=100,
        estimate=0.94,
        reason="a test",
    )
    assert record_quality(store, model, found, time.time_ns() // 1000)


def store_label_check(store: Store, model: str, evidence: Literal["all", "audit", "none"]) -> None:
    """Store the result of a label check, as the watcher does."""
    check = LabelCheck(evidence=evidence, biased=evidence != "all", n_rows=200, n_labelled=50, reason="a test")
    record_label_check(store, model, check, 1)


def until_served(service: Service, version: str) -> None:
    """Wait until all workers answer with a version."""
    key = {"x_api_key": KEY}
    service.until(lambda: {worker["version"] for worker in service.get("/health", **key)["workers"]} == {version})


def until_scraped(world: World) -> None:
    """Wait until Prometheus has seen the version that is served now, and enough scrapes for its recorded figures."""
    seen = f'ratchet_served_version{{model="{world.model}"}} == 3'
    world.prometheus.until(lambda: len(world.prometheus.query(seen)) == 2)
    recorded = ("ratchet:errors:ratio_rate5m", "ratchet:request_seconds:p99_5m", "ratchet:requests_by_route:rate5m > 0")
    for figure in recorded:
        world.prometheus.until(lambda figure=figure: world.prometheus.query(figure))  # type: ignore[misc]


def _chat(service: Service, done: threading.Event) -> None:
    key = {"x_api_key": KEY}
    number = 0
    while not done.wait(_PAUSE):
        number += 1
        with contextlib.suppress(OSError, HTTPException, ValueError, KeyError):
            _, answer = service.post("/predict", (VERSICOLOR, VIRGINICA)[number % 2], **key)
            service.post("/feedback", {"prediction_id": answer["prediction_id"], "correct": number % 5 > 0}, **key)
            service.post("/feedback", {"prediction_id": "00000000-0000-7000-8000-000000000000", "correct": True}, **key)
            service.post("/predict_batch", {"rows": [RECORD, VIRGINICA, VERSICOLOR]}, **key)
            service.post("/explain", RECORD, **key)
            service.post("/predict", {}, **key)
            service.get("/health", **key)
            service.request("GET", "/model")
