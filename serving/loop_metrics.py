"""What the loop has found, as Prometheus metrics: read from the store when somebody asks, alike in all workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ratchet.errors import RatchetError
from ratchet.loop.heartbeat import last_beat
from ratchet.loop.training_runs import TRIGGER_NAMES, RunState, TrainingRuns, label_to_version
from ratchet.monitoring.production_rows import count_labels
from ratchet.monitoring.windows import drift_windows, quality_windows
from ratchet.registry.promotion_ledger import Kind, Ledger
from ratchet.store.database import Store

logger = logging.getLogger(__name__)

_MOST_LABELS = 10_000
_RUNS = 50
# Runs and entries of the ledger are counted over the newest so many, so that what a scrape costs has an end.
_MOST_COUNTED = 10_000
# A run that no trigger began was begun by a person.
_PERSON = "person"
_REFUSED = "refused"


class LoopCollector(Collector):
    """Gauges of drift, live quality, labels, runs, watchers and the production pointer.

    Counts are gauges, too: they are read from the store, alike whichever worker is asked, and survive a restart.

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
            found = [*_drift(store, model), *_quality(store, model), *_runs(store, model), *_watcher(store, model)]
            yield from (*found, *_pointer(store, model))
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
    fell = GaugeMetricFamily(
        "ratchet_live_quality_dropped", "1 where the newest window is a drop.", labels=["model", "version"]
    )
    for row in quality_windows(store, model, None, 1):
        for figure in ("value", "low", "high", "estimate"):
            if row[figure] is not None:
                found.add_metric([model, row["version"], row["metric"], figure], row[figure])
        at.add_metric([model, row["version"]], row["created_at"])
        fell.add_metric([model, row["version"]], float(row["dropped"]))
    return [found, at, fell]


def _runs(store: Store, model: str) -> list[Any]:
    return [*_newest_runs(store, model), *_counted_runs(store, model)]


def _newest_runs(store: Store, model: str) -> list[Any]:
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


def _counted_runs(store: Store, model: str) -> list[Any]:
    states, names = dict.fromkeys(get_args(RunState), 0), dict.fromkeys([*TRIGGER_NAMES, _PERSON], 0)
    for state, triggers, count in TrainingRuns(store, model).counts(_MOST_COUNTED):
        states[state] += count
        for name in triggers or (_PERSON,):
            names[name] = names.get(name, 0) + count
    return [
        _counted("ratchet_training_runs", "Runs of continuous training by state.", model, "state", states),
        _counted("ratchet_training_triggers", "Runs by the triggers that fired.", model, "trigger", names),
    ]


def _watcher(store: Store, model: str) -> list[Any]:
    looked = _gauge("ratchet_watch_timestamp_seconds", "When a watcher last looked.")
    interval = _gauge("ratchet_watch_interval_seconds", "From one look to the next; 0 where no other is promised.")
    beat = last_beat(store, model)
    if beat is not None:
        looked.add_metric([model], beat.at)
        interval.add_metric([model], beat.interval)
    return [looked, interval]


def _pointer(store: Store, model: str) -> list[Any]:
    ledger = Ledger(store, model)
    kinds = dict.fromkeys([*get_args(Kind), _REFUSED], 0)
    for (kind, state), count in ledger.counts(_MOST_COUNTED).items():
        if state == "completed":
            kinds[kind] += count
        elif state == "refused":
            kinds[_REFUSED] += count
    served = _gauge("ratchet_production_version", "The version that should be served, by the ledger.")
    entry = ledger.last_completed()
    if entry is not None and entry.to_version.isdigit():
        served.add_metric([model], int(entry.to_version))
    took = _gauge("ratchet_label_to_version_seconds", "From the newest label to the version that was trained on it.")
    seconds = label_to_version(store, model)
    if seconds is not None:
        took.add_metric([model], seconds)
    promotions = _counted("ratchet_promotions", "Changes of Production, and refusals.", model, "kind", kinds)
    return [promotions, served, took]


def _counted(name: str, help_text: str, model: str, label: str, counts: Mapping[Any, int]) -> Any:
    family = GaugeMetricFamily(name, help_text, labels=["model", label])
    for value, count in counts.items():
        family.add_metric([model, value], count)
    return family


def _gauge(name: str, help_text: str) -> Any:
    return GaugeMetricFamily(name, help_text, labels=["model"])


def _time(name: str, help_text: str) -> Any:
    return GaugeMetricFamily(name, help_text, labels=["model", "version"])
