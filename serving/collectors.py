"""Prometheus metrics that are read from the store and the disk at each scrape, and are equal in all workers."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ratchet.errors import RatchetError
from ratchet.inference.journal import Journal
from ratchet.loop.heartbeat import last_beat
from ratchet.loop.training_runs import TRIGGER_NAMES, RunState, TrainingRuns, label_to_version, labels_waiting
from ratchet.monitoring.windows import drift_windows, newest_label_check, quality_windows
from ratchet.registry.promotion_ledger import Kind, Ledger
from ratchet.store.clock import newest_valid, store_time
from ratchet.store.database import Store

logger = logging.getLogger(__name__)

_MAX_RUNS = 50
# The newest runs and ledger entries that are counted, so that the cost of a scrape is bounded.
_MAX_COUNTED = 10_000
# The trigger of a run that a person has started.
_PERSON = "person"
_REFUSED = "refused"


class LoopCollector(Collector):
    """Gauges of drift, live quality, labels, runs, watchers and the production pointer.

    Counts are gauges too, since the store keeps them over restarts.

    Parameters
    ----------
    open_store: returns the store.
    model: returns the name of the served model, which is empty while there is none.
    """

    def __init__(self, open_store: Callable[[], Store], model: Callable[[], str]) -> None:
        self._open_store = open_store
        self._model = model

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the gauges; none while the store is down, which ``ratchet_store_down`` reports."""
        model = self._model()
        if not model:
            return
        try:
            store = self._open_store()
            yield from [gauge for read in _READERS for gauge in read(store, model)]
        except RatchetError as error:
            logger.debug("the metrics of continuous training are not exported: %s", error)


class DiskCollector(Collector):
    """Gauges of the file system that holds the home, and of the rows that a journal there has set aside."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the bytes that an unprivileged user can write, and all bytes; nothing if the home is unreadable."""
        try:
            usage, bad = shutil.disk_usage(self._home), Journal(self._home / "journal").bad_rows()
        except OSError as error:
            logger.debug("the metrics of the home are not exported: %s", error)
            return
        for name, text, value in (
            ("ratchet_disk_free_bytes", "Free bytes on the file system of the home.", usage.free),
            ("ratchet_disk_size_bytes", "Size of the file system of the home in bytes.", usage.total),
            ("ratchet_journal_bad_rows", "Rows of the journal that the store cannot take.", bad),
        ):
            family = GaugeMetricFamily(name, text, labels=["path"])
            family.add_metric(["home"], value)
            yield family


def _drift(store: Store, model: str) -> list[GaugeMetricFamily]:
    share = _gauge("ratchet_drift_share", "Share of drifted features in the newest window.", "version")
    detected = _gauge("ratchet_drift_detected", "1 if the newest window has drifted.", "version")
    figure = _gauge("ratchet_drift_figure", "Drift of a feature in the newest window.", "version", "feature")
    at = _gauge("ratchet_drift_window_timestamp_seconds", "Time of the newest drift window.", "version")
    for row in drift_windows(store, model, None, 1):
        labels = [model, row["version"]]
        share.add_metric(labels, row["share"])
        detected.add_metric(labels, float(row["detected"]))
        at.add_metric(labels, row["created_at"])
        for feature, value in row["report"]["figures"].items():
            figure.add_metric([*labels, feature], value)
    return [share, detected, figure, at]


def _quality(store: Store, model: str) -> list[GaugeMetricFamily]:
    help_text = (
        "Metric of the champion on its newest labelled rows: value, low and high of its interval, and the estimate"
        " without labels."
    )
    quality = _gauge("ratchet_live_quality", help_text, "version", "metric", "figure")
    at = _gauge("ratchet_live_quality_timestamp_seconds", "Time of the newest window of live quality.", "version")
    dropped = _gauge("ratchet_live_quality_dropped", "1 if quality has dropped in the newest window.", "version")
    for row in quality_windows(store, model, None, 1):
        for figure in ("value", "low", "high", "estimate"):
            if row[figure] is not None:
                quality.add_metric([model, row["version"], row["metric"], figure], row[figure])
        at.add_metric([model, row["version"]], row["created_at"])
        dropped.add_metric([model, row["version"]], float(row["dropped"]))
    return [quality, at, dropped]


def _labels(store: Store, model: str) -> list[GaugeMetricFamily]:
    help_text = "1 if labels depend on the answer or none counts; evidence is the labelled rows that count."
    biased = _gauge("ratchet_label_bias", help_text, "evidence")
    found = newest_label_check(store, model)
    if found is not None:
        evidence = found["report"]["evidence"]
        biased.add_metric([model, evidence], float(found["biased"] or evidence == "none"))
    return [biased]


def _newest_runs(store: Store, model: str) -> list[GaugeMetricFamily]:
    runs = TrainingRuns(store, model).history(_MAX_RUNS)
    waiting = _gauge("ratchet_labels_waiting", "Labels since the newest training run.")
    waiting.add_metric([model], labels_waiting(store, model, runs[0] if runs else None))
    ended = _gauge("ratchet_training_run_timestamp_seconds", "End of the newest run in this state.", "state")
    now = store_time(store)
    for state in sorted({run.state for run in runs}):
        newest = next(run for run in runs if run.state == state)
        ended.add_metric([model, state], newest_valid([0.0, newest.changed_at], now) or 0.0)
    return [waiting, ended]


def _run_counts(store: Store, model: str) -> list[GaugeMetricFamily]:
    states, names = dict.fromkeys(get_args(RunState), 0), dict.fromkeys([*TRIGGER_NAMES, _PERSON], 0)
    for state, triggers, count in TrainingRuns(store, model).counts(_MAX_COUNTED):
        states[state] += count
        for name in triggers or (_PERSON,):
            names[name] = names.get(name, 0) + count
    return [
        _counts("ratchet_training_runs", "Training runs by state.", model, "state", states),
        _counts("ratchet_training_triggers", "Training runs by trigger.", model, "trigger", names),
    ]


def _watcher(store: Store, model: str) -> list[GaugeMetricFamily]:
    checked_at = _gauge("ratchet_watch_timestamp_seconds", "Time of the last check of a watcher.")
    interval = _gauge(
        "ratchet_watch_interval_seconds", "Seconds between the checks of the watcher; 0 for a single check."
    )
    beat = last_beat(store, model)
    if beat is not None:
        # A time in the future would hide that the watcher is dead.
        checked_at.add_metric([model], newest_valid([0.0, beat.at], store_time(store)) or 0.0)
        interval.add_metric([model], beat.interval)
    return [checked_at, interval]


def _pointer(store: Store, model: str) -> list[GaugeMetricFamily]:
    ledger = Ledger(store, model)
    kinds = dict.fromkeys([*get_args(Kind), _REFUSED], 0)
    for (kind, state), count in ledger.counts(_MAX_COUNTED).items():
        if state == "completed":
            kinds[kind] += count
        elif state == "refused":
            kinds[_REFUSED] += count
    served = _gauge("ratchet_production_version", "Version in Production according to the ledger.")
    entry = ledger.last_completed()
    if entry is not None and entry.to_version.isdigit():
        served.add_metric([model], int(entry.to_version))
    moved = _gauge("ratchet_production_moved_outside", "1 if the version was moved into Production outside Ratchet.")
    moved.add_metric([model], float(entry is not None and entry.kind == "moved"))
    took = _gauge("ratchet_label_to_version_seconds", "Time from the newest label to the version trained on it.")
    seconds = label_to_version(store, model)
    if seconds is not None:
        took.add_metric([model], seconds)
    promotions = _counts("ratchet_promotions", "Changes of Production and refused promotions.", model, "kind", kinds)
    return [promotions, served, moved, took]


def _counts(name: str, help_text: str, model: str, label: str, counts: Mapping[Any, int]) -> GaugeMetricFamily:
    family = _gauge(name, help_text, label)
    for value, count in counts.items():
        family.add_metric([model, value], count)
    return family


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=["model", *labels])


_READERS = (_drift, _quality, _labels, _newest_runs, _run_counts, _watcher, _pointer)
