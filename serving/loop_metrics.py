"""What the loop has found, as Prometheus metrics: read from the store when somebody asks, alike in all workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ratchet.errors import RatchetError
from ratchet.loop.production import count_labels
from ratchet.loop.training_runs import TrainingRuns
from ratchet.loop.windows import drift_windows, quality_windows
from ratchet.store import Store

logger = logging.getLogger(__name__)

_MOST_LABELS = 10_000
_RUNS = 50


class LoopCollector(Collector):
    """Gauges of drift, live quality, labels and runs.

    Parameters
    ----------
    open_store: opens the store, or returns the one that is open.
    model: the model that is served; empty while none is.
    """

    def __init__(self, open_store: Callable[[], Store], model: Callable[[], str]) -> None:
        self._open_store = open_store
        self._model = model

    def collect(self) -> Iterator[Any]:
        """The gauges; none of them while the store is down, which has a metric of its own."""
        model = self._model()
        if not model:
            return
        try:
            store = self._open_store()
            yield from (*_drift(store, model), *_quality(store, model), *_runs(store, model))
        except RatchetError as error:
            logger.debug("the loop's metrics are left out: %s", error)


def _drift(store: Store, model: str) -> list[Any]:
    windows = drift_windows(store, model, None, 1)
    share = GaugeMetricFamily("ratchet_drift_share", "Share of drifted features.", labels=["model", "version"])
    seen = GaugeMetricFamily("ratchet_drift_detected", "1 where it drifted.", labels=["model", "version"])
    figure = GaugeMetricFamily("ratchet_drift_figure", "Drift of a feature.", labels=["model", "version", "feature"])
    at = _time("ratchet_drift_window_timestamp_seconds", "When the newest window was judged.")
    for row in windows:
        labels = [model, row["version"]]
        share.add_metric(labels, row["share"])
        seen.add_metric(labels, float(row["detected"]))
        at.add_metric(labels, row["created_at"])
        for feature, value in row["report"]["figures"].items():
            figure.add_metric([*labels, feature], value)
    return [share, seen, figure, at]


def _quality(store: Store, model: str) -> list[Any]:
    help_text = (
        "The champion on its newest labelled rows: value, interval (low, high), and the estimate without labels."
    )
    found = GaugeMetricFamily("ratchet_live_quality", help_text, labels=["model", "version", "metric", "figure"])
    at = _time("ratchet_live_quality_timestamp_seconds", "When the newest window was measured.")
    for row in quality_windows(store, model, None, 1):
        for figure in ("value", "low", "high", "estimate"):
            if row[figure] is not None:
                found.add_metric([model, row["version"], row["metric"], figure], row[figure])
        at.add_metric([model, row["version"]], row["created_at"])
    return [found, at]


def _runs(store: Store, model: str) -> list[Any]:
    runs = TrainingRuns(store, model).history(_RUNS)
    waiting = GaugeMetricFamily("ratchet_labels_waiting", "Labels since the newest training run.", labels=["model"])
    waiting.add_metric([model], count_labels(store, model, runs[0].watermark if runs else 0, _MOST_LABELS))
    ended = GaugeMetricFamily(
        "ratchet_training_run_timestamp_seconds", "When the newest run with this end ended.", labels=["model", "state"]
    )
    for state in sorted({run.state for run in runs}):
        newest = next(run for run in runs if run.state == state)
        ended.add_metric([model, state], newest.ended_at or newest.created_at)
    return [waiting, ended]


def _time(name: str, help_text: str) -> Any:
    return GaugeMetricFamily(name, help_text, labels=["model", "version"])
