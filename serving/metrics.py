"""Prometheus metrics of the service, summed over its workers.

prometheus_client shares the counts of all processes through files in ``PROMETHEUS_MULTIPROC_DIR``. It reads this
variable when it is imported, so that only worker processes may import this module.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ratchet.feedback.feedback_log import Outcome
from ratchet.feedback.table import ContradictionError, Recorded
from ratchet.inference.prediction_log import Rows
from ratchet.store.prediction_batches import PredictionBatch, value_counts
from serving.latency_window import LatencyWindow
from serving.metric_files import exclusive, merge_dead, register

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_TENTHS = tuple(round(0.1 * step, 1) for step in range(1, 11))
# Further classes are counted together, since each class adds a series until the service restarts.
_MAX_CLASSES = 100
# The paths whose latency /health reports.
PREDICTION_PATHS = ("/predict", "/predict_batch", "/explain")


class _BatchHistogram:
    """A histogram whose observations are kept in this process until they are flushed together.

    prometheus_client's own histogram takes one observation a call, each of which writes to a mapped file. Here a
    counter has a series for each bucket and for the sum, and `family` makes the exported histogram from them.
    """

    def __init__(self, name: str, documentation: str, label: str, bounds: Sequence[float]) -> None:
        self.name = name
        self._label = label
        self._counter = Counter(name, documentation, [label, "part"])
        self._bounds = bounds
        self._parts = [*map(str, bounds), "+Inf", "sum"]
        self._pending: dict[str, list[float]] = {}

    def observe(self, label: str, value: float) -> None:
        """Add an observation."""
        pending = self._of(label)
        pending[bisect_left(self._bounds, value)] += 1
        pending[-1] += value

    def _of(self, label: str) -> list[float]:
        pending = self._pending.get(label)
        if pending is None:
            pending = self._pending[label] = [0] * len(self._parts)
        return pending

    def observe_all(self, label: str, values: npt.NDArray[np.floating[Any]]) -> None:
        """Add many observations."""
        pending = self._of(label)
        counts = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._bounds) + 1)
        for part, count in enumerate(counts.tolist()):
            pending[part] += count
        pending[-1] += float(values.sum(dtype=np.float64))

    def flush(self) -> None:
        """Add the pending observations to the counter."""
        pending, self._pending = self._pending, {}
        for label, values in pending.items():
            for part, value in zip(self._parts, values, strict=True):
                self._counter.labels(label, part).inc(value)

    def family(self, counter: Metric) -> HistogramMetricFamily:
        """Return the histogram of a counter that is summed over the processes."""
        series: dict[str, dict[str, float]] = defaultdict(dict)
        for sample in counter.samples:
            if sample.name.endswith("_total"):
                series[sample.labels[self._label]][sample.labels["part"]] = sample.value
        family = HistogramMetricFamily(self.name, counter.documentation, labels=[self._label])
        for label, parts in series.items():
            *counts, total = (parts.get(part, 0.0) for part in self._parts)
            family.add_metric([label], list(zip(self._parts, accumulate(counts), strict=False)), total)
        return family


_requests = Counter("ratchet_requests", "Requests by route and status.", ["route", "status"])
_latency = _BatchHistogram(
    "ratchet_request_seconds", "Time from the arrival of a request to its response.", "route", _SECONDS
)
_in_flight = Gauge("ratchet_requests_in_flight", "Requests without a response yet.", multiprocess_mode="livesum")
_errors = Counter("ratchet_errors", "Failed requests by kind of error.", ["kind"])
_predictions = Counter("ratchet_predictions", "Predictions by version and class.", ["model", "version", "label"])
_scores = _BatchHistogram("ratchet_prediction_score", "Probability of the predicted class.", "model", _TENTHS)
_feedback = Counter("ratchet_feedback", "Durable and contradicting feedback.", ["model", "version", "source", "status"])
_queue = Gauge("ratchet_log_queue_depth", "Predictions that are not durable yet.", multiprocess_mode="livesum")
_store = Gauge("ratchet_store_down", "Workers that cannot reach the store of predictions.", multiprocess_mode="livesum")
_version = Gauge("ratchet_served_version", "Version that a worker serves.", ["model"], multiprocess_mode="liveall")
_swaps = Counter("ratchet_swaps", "Versions that workers have started to serve.", ["model"])
_failures = Counter("ratchet_swap_failures", "Failures to follow the production pointer.", ["reason"])
_HISTOGRAMS = {histogram.name: histogram for histogram in (_latency, _scores)}


class Metrics:
    """Counts what one worker does.

    A step of a shared counter costs a write to a mapped file and a system call. Counts of the hot path are kept in
    this process, and `flush` adds them to the shared counters once a second and before each export.
    """

    def __init__(self) -> None:
        self._window = LatencyWindow()
        self._times: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        self.in_flight = 0
        self._classes: set[str] = set()
        self._requests: Tally[tuple[str, int]] = Tally()
        self._predictions: Tally[tuple[str, str, str]] = Tally()
        self._feedback: Tally[tuple[str, str, str, str]] = Tally()
        # Predictions and feedback are counted by the threads that write them.
        self._lock = threading.Lock()
        for reason in ("package", "registry", "unexpected"):
            _failures.labels(reason)
        if folder := _shared_folder():
            register(folder)

    def count_request(self, route: str, status: int, seconds: float | None) -> None:
        """Count a request; one without a time is not part of the latency."""
        if seconds is None:
            self._requests[route, status] += 1
        else:
            self._times[route, status].append(seconds)

    @property
    def latency(self) -> LatencyWindow:
        """The latencies of the last minutes; for the event loop's thread."""
        self._add_times()
        return self._window

    def _add_times(self) -> None:
        """Count the requests since the last call by their time, together, since one by one takes longer."""
        times, self._times = self._times, defaultdict(list)
        for (route, status), seconds in times.items():
            self._requests[route, status] += len(seconds)
            _latency.observe_all(route, np.array(seconds))
            if status == 200 and route in PREDICTION_PATHS:
                self._window.add_all(seconds)

    def count_error(self, kind: str) -> None:
        """Count a request that failed."""
        _errors.labels(kind).inc()

    def set_version(self, model: str, version: str) -> None:
        """Export the version that this worker serves from now on."""
        _version.labels(model).set(int(version) if version.isdigit() else 0)
        _swaps.labels(model).inc()

    def count_swap_failure(self, reason: str) -> None:
        """Count a failure to follow the production pointer."""
        _failures.labels(reason).inc()

    def set_state(self, *, depth: int, store_is_down: bool) -> None:
        """Export the length of the queue and the state of the store."""
        _queue.set(depth)
        _in_flight.set(self.in_flight)
        _store.set(store_is_down)

    def count_predictions(self, requests: Sequence[Rows]) -> None:
        """Count predictions that are durable."""
        with self._lock:
            for rows in requests:
                for row in rows:
                    if isinstance(row, PredictionBatch):
                        self._count_batch(row)
                        continue
                    self._predictions[row["model"], row["version"], self._class(row["prediction"])] += 1
                    if row["score"] is not None:
                        _scores.observe(row["model"], row["score"])

    def count_feedback(self, outcomes: Sequence[Outcome]) -> None:
        """Count feedback that is durable or contradicts durable feedback."""
        with self._lock:
            for feedback, result in outcomes:
                if isinstance(result, Recorded | ContradictionError):
                    status = result.status if isinstance(result, Recorded) else "contradicted"
                    current = result.current
                    self._feedback[current.model, current.version, feedback.source, status] += 1

    def flush(self) -> None:
        """Add the counts of this process to the shared counters; for the event loop's thread."""
        self._add_times()
        requests, self._requests = self._requests, Tally()
        for (route, status), count in requests.items():
            _requests.labels(route, str(status)).inc(count)
        _latency.flush()
        with self._lock:
            for prediction, count in self._predictions.items():
                _predictions.labels(*prediction).inc(count)
            self._predictions.clear()
            for outcome, count in self._feedback.items():
                _feedback.labels(*outcome).inc(count)
            self._feedback.clear()
            _scores.flush()

    def _count_batch(self, batch: PredictionBatch) -> None:
        table = batch.columns("prediction", "score")
        for prediction, count in value_counts(table.column("prediction")):
            self._predictions[batch.model, batch.version, self._class(prediction)] += count
        if "score" in table.column_names:
            _scores.observe_all(batch.model, table.column("score").to_numpy())

    def _class(self, prediction: str | int | float) -> str:
        if isinstance(prediction, float):
            return "all"
        label = str(prediction)
        if label not in self._classes:
            if len(self._classes) >= _MAX_CLASSES:
                return "other"
            self._classes.add(label)
        return label


def exposition(*collectors: Collector) -> bytes:
    """Return the metrics of all workers, and those of further collectors, in Prometheus' text format."""
    registry = CollectorRegistry()
    for collector in (_WorkersCollector(), *collectors):
        registry.register(collector)
    return generate_latest(registry)


class _WorkersCollector(Collector):
    """The metrics of this module, summed over the workers."""

    def collect(self) -> Iterator[Metric]:
        for family in _shared_families():
            histogram = _HISTOGRAMS.get(family.name)
            yield histogram.family(family) if histogram else family


def _shared_families() -> Iterator[Metric]:
    folder = _shared_folder()
    if folder is None:
        yield from REGISTRY.collect()
        return
    with exclusive(folder):
        merge_dead(folder)
        families = list(MultiProcessCollector(None, str(folder)).collect())
    yield from families


def _shared_folder() -> Path | None:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None
