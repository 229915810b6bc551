"""The triggers of continuous training; their state is in the store, so that it survives a restart.

A trigger reads what is new since its last check, judges every full window of it in order, stores the verdicts, and
returns whether it fires. A check judges a limited number of windows, and the next check continues after them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from ratchet.config.continuous import ContinuousTrainingConfig, Debounce, QualityDrop
from ratchet.config.cron import next_time
from ratchet.config.tasks import POSITIVE_METRICS
from ratchet.feedback.audit_sample import is_audited
from ratchet.loop.training_runs import TrainingRun
from ratchet.monitoring import live_quality
from ratchet.monitoring.drift import report as drift
from ratchet.monitoring.label_bias import LabelCheck
from ratchet.monitoring.production_rows import (
    LabelledRow,
    PredictedRow,
    count_labels,
    judged_after,
    labelled_rows,
    late_between,
    newest_predictions,
    nth_label,
    predictions_between,
    watermark,
)
from ratchet.monitoring.windows import (
    Position,
    drift_windows,
    last_judged_prediction,
    quality_windows,
    record_drift_window,
    record_quality,
)
from ratchet.store.clock import is_future, newest_valid, store_time
from ratchet.store.database import Store
from ratchet.store.predictions import SETTLED_AFTER, first_id

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package

# Labels that are counted for a watermark.
_MOST_COUNTED = 1_000_000
# Windows, and rows in them, that one check judges; the next check continues after them.
_MOST_WINDOWS = 20
_MOST_ROWS = 20_000
# Labels that are read for each one of the audit sample that is expected among them.
_AUDIT_RESERVE = 4


@dataclass(frozen=True)
class TriggerInput:
    """The input of the triggers.

    Attributes
    ----------
    version: the champion.
    since: the time of its promotion, in seconds since the epoch.
    last: the newest run of continuous training; None for none.
    package: loads the champion's package, once for each version.
    holdout_metrics: reads the champion's metrics on its holdout, once for each version.
    label_check: which labelled rows are evidence of quality; None if it is not known.
    """

    store: Store
    config: ContinuousTrainingConfig
    version: str
    since: float
    last: TrainingRun | None
    package: Callable[[], Package]
    holdout_metrics: Callable[[], dict[str, float]]
    label_check: LabelCheck | None = None

    @property
    def model(self) -> str:
        """The registered model's name."""
        return self.config.model

    @property
    def audit_share(self) -> float | None:
        """The share of the audit sample, if labelled rows outside it are no evidence of quality; else None."""
        check = self.label_check
        return check.audit_share if check and check.evidence == "audit" else None

    @property
    def consumed(self) -> int:
        """The watermark of the newest run."""
        return self.last.watermark if self.last else 0

    @cached_property
    def now(self) -> float:
        """The time by the store's clock, in seconds since the epoch."""
        return store_time(self.store)

    @cached_property
    def promoted_at(self) -> float:
        """The time of the champion's promotion; 0 if it lies in the future, and is void."""
        return newest_valid([0.0, self.since], self.now) or 0.0

    @cached_property
    def counted_from(self) -> float:
        """The time from which on windows count: the end of the newest run, or the champion's promotion."""
        return newest_valid([self.promoted_at, self.last.changed_at if self.last else 0.0], self.now) or 0.0

    @cached_property
    def news_from(self) -> float:
        """The time from which on predictions count: the start of the newest run, or the champion's promotion."""
        return newest_valid([self.promoted_at, self.last.created_at if self.last else 0.0], self.now) or 0.0


class TriggerResult(NamedTuple):
    """The result of a trigger.

    Attributes
    ----------
    line: the reason, or the progress.
    brief: the same in a few words.
    every: the run uses the labels up to the last multiple of this number; None for all labels.
    """

    fires: bool
    line: str
    brief: str
    every: int | None = None


def every_k_labels(given: TriggerInput) -> TriggerResult | None:
    """Fire at k new labels; the run uses them up to the last multiple of k, so that runs do not depend on timing."""
    k = given.config.triggers.every_k_labels
    if k is None:
        return None
    found = count_labels(given.store, given.model, given.consumed, k)
    if found < k:
        return TriggerResult(False, f"{found} of {k} labels", f"{found}/{k} labels")
    return TriggerResult(True, f"{k} or more new labels", f"{k} new labels", k)


def drift_detected(given: TriggerInput) -> TriggerResult | None:
    """Compare each full window of production rows since the last one with the training rows; it needs no labels.

    Each row is in one window: the rows of a window are the oldest of those after the last window and of the late ones.
    """
    limits = given.config.triggers.drift
    if limits is None:
        return None
    windows = drift_windows(given.store, given.model, given.version, limits.n)
    since, settled = first_id(given.news_from), first_id(given.now - SETTLED_AFTER)
    after = max(since, last_judged_prediction(given.store, given.model, given.version, before=settled))
    result, judged = _debounced("drift", "detected", windows, given, limits, ""), ""
    for _ in range(_windows_in_a_check(limits.window)):
        # In this order: a row that is inserted between the two queries is late, or not settled.
        next_rows = predictions_between(given.store, given.model, given.version, after, settled, limits.window)
        late = late_between(given.store, given.model, given.version, since, settled, limits.window)
        rows = _oldest([*next_rows, *late], limits.window)
        if len(rows) < limits.window:
            progress = f"{len(rows)} of {limits.window} rows to the next window"
            return _debounced("drift", "detected", windows, given, limits, judged or progress)
        judged, after = _judge_drift(given, rows, late), max(after, rows[-1].prediction_id)
        windows = drift_windows(given.store, given.model, given.version, limits.n)
        result = _debounced("drift", "detected", windows, given, limits, judged)
        if result.fires:
            break
    return result


def quality_dropped(given: TriggerInput) -> TriggerResult | None:
    """Compare the champion on each window of labelled rows since the last one with its holdout."""
    limits = given.config.triggers.quality_drop
    if limits is None:
        return None
    metric, step = limits.metric or given.config.evaluate.primary_metric, limits.step or limits.window
    position = Position(given.store, given.model, given.version, f"quality_drop {metric}")
    windows = quality_windows(given.store, given.model, given.version, limits.n, metric=metric)
    after = max(position.read(), windows[0]["last_seq"] if windows else 0, given.consumed)
    note = windows[0]["report"]["reason"] if windows else ""
    result = _debounced("quality", "dropped", windows, given, limits, note)
    for _ in range(_windows_in_a_check(limits.window)):
        new = _next_evidence(given, after, step)
        if len(new) < step:
            note = note or f"{len(new)} of {step} labels of version {given.version}"
            return _debounced("quality", "dropped", windows, given, limits, note)
        after = new[-1]
        note = _judge_quality(given, limits, metric, after)
        position.write(after)
        windows = quality_windows(given.store, given.model, given.version, limits.n, metric=metric)
        result = _debounced("quality", "dropped", windows, given, limits, note)
        if result.fires:
            break
    return result


def cron_due(given: TriggerInput) -> TriggerResult | None:
    """Fire if a time of the cron expression has passed since the newest run or the champion's promotion."""
    expression = given.config.triggers.cron
    if expression is None:
        return None
    newest = newest_valid([given.since, *([given.last.created_at] if given.last else [])], given.now)
    if newest is None:  # their times were set by a clock that was wrong
        line = f"due, since the newest run and promotion are in the future ({expression})"
        return TriggerResult(True, line, "cron due")
    due = next_time(expression, newest)
    line = f"due at {datetime.fromtimestamp(due, UTC):%Y-%m-%d %H:%M} UTC ({expression})"
    if due <= given.now:
        return TriggerResult(True, line, "cron due")
    return TriggerResult(False, line, f"cron at {_time_of_day(due, given.now)}")


# Each by its name in the config; None if the config does not have it.
TRIGGERS: dict[str, Callable[[TriggerInput], TriggerResult | None]] = {
    "every_k_labels": every_k_labels,
    "drift": drift_detected,
    "quality_drop": quality_dropped,
    "cron": cron_due,
}


def blocking_reason(given: TriggerInput) -> str | None:
    """Return why no run can begin, whatever fires: the cool-down, or too few labels; None if one can."""
    limits = given.config.triggers
    if given.last and given.last.ended_at and not is_future(given.last.ended_at, given.now):
        ends = given.last.ended_at + limits.cooldown
        if ends > given.now:
            return f"cooling down until {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M:%S} UTC"
    found = count_labels(given.store, given.model, given.consumed, limits.minimum_labels)
    if found < limits.minimum_labels:
        return f"{found} of at least {limits.minimum_labels} new labels since the last run"
    return None


def target_watermark(given: TriggerInput, fired: list[TriggerResult]) -> int:
    """Return the watermark of a run: the newest feedback, unless ``every_k_labels`` alone fired."""
    every = fired[0].every if len(fired) == 1 else None
    if every is None:
        return watermark(given.store, given.model)
    found = count_labels(given.store, given.model, given.consumed, _MOST_COUNTED)
    return nth_label(given.store, given.model, given.consumed, found - found % every)


def _windows_in_a_check(window: int) -> int:
    """Return the largest number of windows that one check judges; the next check continues after them."""
    return max(1, min(_MOST_WINDOWS, _MOST_ROWS // window))


def _oldest(rows: list[PredictedRow], most: int) -> list[PredictedRow]:
    """Return the oldest of some rows, each once, oldest first."""
    by_id = {row.prediction_id: row for row in rows}
    return [by_id[prediction_id] for prediction_id in sorted(by_id)[:most]]


def _judge_drift(given: TriggerInput, rows: list[PredictedRow], late: list[PredictedRow]) -> str:
    """Store the verdict on a window, oldest row first, some of which are late; return its summary."""
    features, answers = pd.DataFrame.from_records([row.features for row in rows]), [row.prediction for row in rows]
    report = drift.compare_window(features, answers, given.package(), given.config.drift, given.version)
    first, last = rows[0].prediction_id, rows[-1].prediction_id
    judged = [row.prediction_id for row in late if row.prediction_id <= last]
    record_drift_window(given.store, given.model, given.version, report, first, last, judged)
    return report.summary


def _next_evidence(given: TriggerInput, after: int, step: int) -> list[int]:
    """Return the numbers of the next labels that are evidence of quality, up to ``step``."""
    share = given.audit_share
    most = step if share is None else int(_AUDIT_RESERVE * step / share)
    new = judged_after(given.store, given.model, given.version, after, most)
    return [seq for seq, prediction_id in new if share is None or is_audited(prediction_id, share)][:step]


def _evidence(given: TriggerInput, window: int, up_to: int) -> list[LabelledRow]:
    """Return the newest labelled rows that are evidence of quality at a watermark, newest first."""
    share = given.audit_share
    most = window if share is None else min(_MOST_ROWS, int(_AUDIT_RESERVE * window / share))
    rows = labelled_rows(given.store, given.model, given.version, most, up_to=up_to)
    return [row for row in rows if share is None or is_audited(row.prediction_id, share)][:window]


def _judge_quality(given: TriggerInput, limits: QualityDrop, metric: str, up_to: int) -> str:
    """Store the quality of the newest labelled rows at a watermark, if it has a value; return the verdict in words."""
    rows = _evidence(given, limits.window, up_to)
    newest = newest_predictions(
        given.store, given.model, given.version, limits.window, after=first_id(given.promoted_at)
    )
    two_classes = metric in POSITIVE_METRICS or given.config.dataset.positive is not None
    schema = given.package().schema if two_classes else None
    found = live_quality.measure(
        rows,
        newest,
        given.version,
        metric,
        limits,
        given.holdout_metrics().get(metric),
        given.config.seed,
        given.config.task,
        schema.positive if schema else None,
        schema.costs if schema else None,
        time=given.config.dataset.time,
        grouped=bool(given.config.dataset.groups),
    )
    if given.label_check and given.label_check.evidence == "none":
        reason = f"{found.reason}, which is not believed: {given.label_check.reason}"
        found = found.model_copy(update={"dropped": False, "reason": reason})
    if found.value is not None:
        record_quality(given.store, given.model, found, up_to)
    return found.reason


def _debounced(
    what: str, verdict: str, windows: list[dict[str, Any]], given: TriggerInput, limits: Debounce, note: str
) -> TriggerResult:
    """Fire if k of the last n windows, as far as they count, have the verdict."""
    counted = [
        window
        for window in windows
        if window["created_at"] > given.counted_from and not is_future(window["created_at"], given.now)
    ]
    positive = sum(window[verdict] for window in counted)
    line = f"{what} in {positive} of the last {len(counted)} windows, {limits.k} of {limits.n} are required ({note})"
    return TriggerResult(positive >= limits.k, line, f"{what} {positive}/{limits.k}")


def _time_of_day(due: float, now: float) -> str:
    """Return a time to come in the local time zone, with the day if it is over 24 hours ahead."""
    return f"{datetime.fromtimestamp(due):{'%H:%M' if due - now < 86_400 else '%d %b %H:%M'}}"
