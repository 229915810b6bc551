"""What begins a run of continuous training. Everything is read from the store, so that a restart forgets nothing.

A trigger looks at what is new since it looked last, writes down the windows that are full, and says whether it fires.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pandas as pd

from ratchet.config.continuous import ContinuousTrainingConfig, Debounce
from ratchet.config.cron import next_time
from ratchet.config.tasks import POSITIVE_METRICS
from ratchet.loop.training_runs import TrainingRun
from ratchet.monitoring import live_quality
from ratchet.monitoring.drift import report as drift
from ratchet.monitoring.production_rows import (
    count_judged,
    count_labels,
    first_id,
    labelled_rows,
    newest_predictions,
    nth_label,
    watermark,
)
from ratchet.monitoring.windows import drift_windows, quality_windows, record_drift_window, record_quality
from ratchet.store.database import Store

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package

# Labels are counted no further than this; a run takes them all the same.
_MOST_COUNTED = 1_000_000


@dataclass(frozen=True)
class View:
    """What triggers look at.

    Attributes
    ----------
    store: where production is written down.
    config: what was asked for.
    version: the champion.
    since: when it came into Production, in seconds since the epoch.
    last: the newest run of continuous training, None where there was none.
    package: loads the champion's package, once for a version.
    holdout_metrics: reads the champion's figures on its holdout, once for a version.
    """

    store: Store
    config: ContinuousTrainingConfig
    version: str
    since: float
    last: TrainingRun | None
    package: Callable[[], Package]
    holdout_metrics: Callable[[], dict[str, float]]

    @property
    def model(self) -> str:
        """The registered model's name."""
        return self.config.model

    @property
    def consumed(self) -> int:
        """The watermark of the newest run."""
        return self.last.watermark if self.last else 0

    @cached_property
    def begun(self) -> float:
        """From when on windows count: the end of the newest run, or the champion's promotion."""
        return max(self.since, (self.last.ended_at or self.last.created_at) if self.last else 0.0)


class Finding(NamedTuple):
    """What a trigger says.

    Attributes
    ----------
    trigger: its name.
    fires: whether a run is wanted.
    line: why, or how far it is.
    every: the run takes the labels up to the last multiple of so many; None for all.
    """

    trigger: str
    fires: bool
    line: str
    every: int | None = None


class Trigger(Protocol):
    """One reason to train again."""

    def look(self, view: View) -> Finding | None:
        """What there is to say; None where the config leaves the trigger out."""
        ...


class EveryKLabels:
    """So many new labels; the run takes them up to the last multiple of k, so that runs do not depend on timing."""

    def look(self, view: View) -> Finding | None:
        """Count the labels since the newest run."""
        k = view.config.triggers.every_k_labels
        if k is None:
            return None
        found = count_labels(view.store, view.model, view.consumed, k)
        if found < k:
            return Finding("every_k_labels", False, f"{found} of {k} labels")
        return Finding("every_k_labels", True, f"{k} new labels and more", k)


class DriftSeen:
    """Windows of production rows that have drifted, labels or not."""

    def look(self, view: View) -> Finding | None:
        """Judge the newest window if enough has come since the last one."""
        asked = view.config.triggers.drift
        if asked is None:
            return None
        windows = drift_windows(view.store, view.model, view.version, asked.n)
        after = windows[0]["last_prediction"] if windows else first_id(view.since)
        rows = newest_predictions(view.store, view.model, view.version, asked.window, after=after)
        note = f"{len(rows)} of {asked.window} rows to the next window"
        if len(rows) >= asked.window:
            features = pd.DataFrame.from_records([row.features for row in rows])
            report = drift.compare_window(
                features, [row.prediction for row in rows], view.package(), view.config.drift, view.version
            )
            first, last = rows[-1].prediction_id, rows[0].prediction_id
            record_drift_window(view.store, view.model, view.version, report, first, last)
            windows = drift_windows(view.store, view.model, view.version, asked.n)
            note = report.summary
        counted = [window for window in windows if window["created_at"] > view.begun]
        seen = sum(window["detected"] for window in counted)
        return Finding("drift", seen >= asked.k, _debounced("drift", seen, len(counted), asked, note))


class QualityFell:
    """Windows of labelled rows on which the champion is worse than it was."""

    def look(self, view: View) -> Finding | None:
        """Measure the newest window if enough labels have come since the last one."""
        asked = view.config.triggers.quality_drop
        if asked is None:
            return None
        metric = asked.metric or view.config.evaluate.primary_metric
        windows = quality_windows(view.store, view.model, view.version, asked.n, metric=metric)
        after = windows[0]["last_seq"] if windows else 0
        step = asked.step or asked.window
        new = count_judged(view.store, view.model, view.version, after, step)
        note = windows[0]["report"]["reason"] if windows else f"{new} of {step} labels of version {view.version}"
        if new >= step:
            found, last = self._measure(view, metric)
            note = found.reason
            if found.value is not None:
                record_quality(view.store, view.model, found, last)
                windows = quality_windows(view.store, view.model, view.version, asked.n, metric=metric)
        counted = [window for window in windows if window["created_at"] > view.begun]
        seen = sum(window["dropped"] for window in counted)
        return Finding("quality_drop", seen >= asked.k, _debounced("quality", seen, len(counted), asked, note))

    @staticmethod
    def _measure(view: View, metric: str) -> tuple[live_quality.Quality, int]:
        asked = view.config.triggers.quality_drop
        if asked is None:
            raise ValueError("the trigger is off")
        rows = labelled_rows(view.store, view.model, view.version, asked.window)
        newest = newest_predictions(view.store, view.model, view.version, asked.window, after=first_id(view.since))
        baseline = view.holdout_metrics().get(metric)
        two_classes = metric in POSITIVE_METRICS or view.config.dataset.positive is not None
        schema = view.package().schema if two_classes else None
        found = live_quality.measure(
            rows,
            newest,
            view.version,
            metric,
            asked,
            baseline,
            view.config.seed,
            view.config.task,
            schema.positive if schema else None,
            schema.costs if schema else None,
            in_order=view.config.dataset.time is not None,
        )
        return found, rows[0].seq if rows else 0


class CronDue:
    """A time of the clock that has passed since the newest run."""

    def look(self, view: View) -> Finding | None:
        """Look whether a time lies between the newest run, or the champion's promotion, and now."""
        expression = view.config.triggers.cron
        if expression is None:
            return None
        due = next_time(expression, max(view.since, view.last.created_at if view.last else 0.0))
        said = f"{datetime.fromtimestamp(due, UTC):%Y-%m-%d %H:%M} UTC ({expression})"
        return Finding("cron", due <= time.time(), f"due at {said}")


TRIGGERS: tuple[Trigger, ...] = (EveryKLabels(), DriftSeen(), QualityFell(), CronDue())


def held_back(view: View) -> str | None:
    """Why no run may begin just now, whatever fires; None where one may."""
    asked = view.config.triggers
    if view.last and view.last.ended_at:
        ends = view.last.ended_at + asked.cooldown
        if ends > time.time():
            return f"cooling down until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M:%S} UTC"
    found = count_labels(view.store, view.model, view.consumed, asked.minimum_labels)
    if found < asked.minimum_labels:
        return f"{found} of at least {asked.minimum_labels} new labels since the last run"
    return None


def wanted_watermark(view: View, fired: list[Finding]) -> int:
    """Up to which feedback a run is to take: the newest, unless labels alone began it."""
    every = fired[0].every if len(fired) == 1 else None
    if every is None:
        return watermark(view.store, view.model)
    found = count_labels(view.store, view.model, view.consumed, _MOST_COUNTED)
    return nth_label(view.store, view.model, view.consumed, found - found % every)


def _debounced(what: str, seen: int, counted: int, asked: Debounce, note: Any) -> str:
    return f"{what} in {seen} of the last {counted} windows, {asked.k} of {asked.n} count ({note})"
