"""What the service tells of itself: Prometheus metrics, right across workers, and a log line for each prediction.

prometheus_client adds workers up through files in ``PROMETHEUS_MULTIPROC_DIR``, which has to be set before it is
imported; so this module is imported by workers alone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from ratchet.feedback.group_commit import Told
from ratchet.feedback.table import ContradictionError, Recorded, Standing
from ratchet.inference.prediction_log import Rows
from serving.latency import LatencyWindow

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SHARES = tuple(round(0.1 * step, 1) for step in range(1, 11))
# Classes beyond this are counted together: each is a series for ever.
_MOST_CLASSES = 100
_ONE = "all"
# Feedback that leaves what stands as it is.
_NOTHING_NEW = ("repeated", "contradicted")
# What /health tells the latency of.
_ANSWERING = ("/predict", "/predict_batch", "/explain")


class _Tally(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add what was counted by bucket, and the sum of the values."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


_requests = Counter("ratchet_requests", "Requests by route and status.", ["route", "status"])
_latency = _Tally("ratchet_request_seconds", "From a request's arrival to its answer.", ["route"], buckets=_SECONDS)
_in_flight = Gauge("ratchet_requests_in_flight", "Requests that wait for an answer.", multiprocess_mode="livesum")
_errors = Counter("ratchet_errors", "Requests without an answer, by kind.", ["kind"])
_predictions = Counter("ratchet_predictions", "Predictions by version and class.", ["model", "version", "label"])
_scores = _Tally("ratchet_prediction_score", "Probability of the predicted class.", ["model"], buckets=_SHARES)
_feedback = Counter(
    "ratchet_feedback", "Durable feedback, and contradictions of it.", ["model", "version", "source", "status"]
)
_queue = Gauge("ratchet_log_queue_depth", "Predictions that wait to be durable.", multiprocess_mode="livesum")
_store = Gauge("ratchet_store_down", "Workers that cannot reach the store of predictions.", multiprocess_mode="livesum")
_version = Gauge(
    "ratchet_served_version",
    "Version that a worker answers with; workers that differ are out of step.",
    ["model"],
    multiprocess_mode="liveall",
)
_swaps = Counter("ratchet_swaps", "Versions that went in.", ["model"])
_failures = Counter("ratchet_swap_failures", "Failures to follow the production pointer.", ["reason"])


class _Counts:
    """Observations that wait to be added to a histogram."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._clear()

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def move_to(self, histogram: _Tally) -> None:
        counts, total = self._counts, self._total
        self._clear()
        histogram.add(counts, total)

    def _clear(self) -> None:
        self._counts, self._total = [0] * (len(self._bounds) + 1), 0.0


class Telemetry:
    """Counts and writes down what one worker does.

    Each step of a Prometheus counter that workers share is a write to a mapped file and a system call. So counts are
    kept in this process and moved there once a second, and before this worker tells them.

    Parameters
    ----------
    log_predictions: whether each prediction gets a line on standard output.
    log_features: whether that line holds the features, too.
    """

    def __init__(self, *, log_predictions: bool, log_features: bool) -> None:
        self._log_predictions = log_predictions
        self._log_features = log_features
        self._labels: set[str] = set()
        self._answered: Tally[tuple[str, int]] = Tally()
        self._seconds: dict[str, _Counts] = {}
        self._predicted: Tally[tuple[str, str, str]] = Tally()
        self._scored: dict[str, _Counts] = {}
        self._told: Tally[tuple[str, str, str, str]] = Tally()
        self._moving = threading.Lock()
        self._stamp = 0, ""
        self.window = LatencyWindow()
        self.in_flight = 0
        for reason in ("package", "registry", "unexpected"):
            _failures.labels(reason)

    def request(self, route: str, status: int, seconds: float | None) -> None:
        """Count a request that was answered or refused.

        Parameters
        ----------
        seconds: from its arrival to its answer; None where it is not to be timed.
        """
        self._answered[route, status] += 1
        if seconds is None:
            return
        counts = self._seconds.get(route)
        if counts is None:
            counts = self._seconds[route] = _Counts(_SECONDS)
        counts.observe(seconds)
        if status == 200 and route in _ANSWERING:
            self.window.add(seconds)

    def error(self, kind: str) -> None:
        """Count an error."""
        _errors.labels(kind).inc()

    def swapped(self, model: str, version: str) -> None:
        """Show the version that is served now."""
        _version.labels(model).set(int(version) if version.isdigit() else 0)
        _swaps.labels(model).inc()

    def swap_failed(self, reason: str) -> None:
        """Raise the alarm: the pointer could not be followed."""
        _failures.labels(reason).inc()

    def state(self, *, depth: int, store_is_down: bool) -> None:
        """Show how much is waiting."""
        _queue.set(depth)
        _in_flight.set(self.in_flight)
        _store.set(store_is_down)

    def written(self, requests: Sequence[Rows]) -> None:
        """Count predictions that are durable, and write a line for each request."""
        with self._moving:
            for rows in requests:
                for row in rows:
                    self._predicted[row["model"], row["version"], self._label(row["prediction"])] += 1
                    if row["score"] is not None:
                        self._scores_of(row["model"]).observe(row["score"])
        if self._log_predictions:
            sys.stdout.buffer.write(b"".join(map(self._line, requests)))
            sys.stdout.buffer.flush()

    def recorded(self, feedback: Sequence[Told]) -> None:
        """Count feedback that is durable or contradicts what is, and write a line for each new answer."""
        lines = []
        with self._moving:
            for said, result in feedback:
                if isinstance(result, Recorded | ContradictionError):
                    status = result.status if isinstance(result, Recorded) else "contradicted"
                    standing = result.standing
                    self._told[standing.model, standing.version, said.source, status] += 1
                    if status not in _NOTHING_NEW:
                        lines.append(self._feedback_line(standing, status))
        if self._log_predictions and lines:
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()

    def move(self) -> None:
        """Move what was counted to where all workers' counts are added up; called by the event loop's thread."""
        answered, self._answered = self._answered, Tally()
        for (route, status), count in answered.items():
            _requests.labels(route, str(status)).inc(count)
        for route, counts in self._seconds.items():
            counts.move_to(_latency.labels(route))
        with self._moving:
            for key, count in self._predicted.items():
                _predictions.labels(*key).inc(count)
            self._predicted.clear()
            for told, count in self._told.items():
                _feedback.labels(*told).inc(count)
            self._told.clear()
            for model, scores in self._scored.items():
                scores.move_to(_scores.labels(model))

    def _scores_of(self, model: str) -> _Counts:
        scores = self._scored.get(model)
        if scores is None:
            scores = self._scored[model] = _Counts(_SHARES)
        return scores

    def _label(self, prediction: str | int | float) -> str:
        if isinstance(prediction, float):
            return _ONE
        label = str(prediction)
        if label not in self._labels:
            if len(self._labels) >= _MOST_CLASSES:
                return "other"
            self._labels.add(label)
        return label

    def _line(self, rows: Rows) -> bytes:
        row = rows[0]
        line: dict[str, Any] = {
            "time": self._when(row["created_at"]),
            "level": "info",
            "event": "prediction" if len(rows) == 1 else "predictions",
            "prediction_id": row["id"],
            "model": row["model"],
            "version": row["version"],
            "latency_ms": round(row["latency"] * 1000, 3),
        }
        if len(rows) > 1:
            line |= {"last_prediction_id": rows[-1]["id"], "count": len(rows)}
        if self._log_features:
            line["features"] = row["features"] if len(rows) == 1 else [each["features"] for each in rows]
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _feedback_line(self, standing: Standing, status: str) -> bytes:
        line = {
            "time": self._when(standing.created_at),
            "level": "info",
            "event": "feedback",
            "prediction_id": standing.prediction_id,
            "model": standing.model,
            "version": standing.version,
            "status": status,
            "source": standing.source,
            "revision": standing.revision,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _when(self, seconds: float) -> str:
        whole = int(seconds)
        second, stamp = self._stamp
        if whole != second:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._stamp = whole, stamp
        return f"{stamp}.{int(seconds % 1 * 1000):03d}Z"


def exposition(*collectors: Collector) -> bytes:
    """All workers' metrics in Prometheus' text format.

    Parameters
    ----------
    collectors: of what is the same whoever is asked, since it is read elsewhere.
    """
    shared = CollectorRegistry()
    for collector in collectors:
        shared.register(collector)
    return _of_all_workers() + generate_latest(shared)


def _of_all_workers() -> bytes:
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return generate_latest()
    for path in Path(folder).glob("gauge_live*_*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists() and not _alive(pid):
            mark_process_dead(pid, folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return generate_latest(registry)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
