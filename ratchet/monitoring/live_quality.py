"""Live quality: metrics of the champion on labelled production rows, and their estimate before labels arrive."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ratchet.config import LABELLED, LOSSES, Costs, TaskName
from ratchet.config.continuous import QualityDrop
from ratchet.model import metrics
from ratchet.model.bootstrap import interval
from ratchet.model.tasks import dependent_block
from ratchet.monitoring.production_rows import Label, LabelledRow, PredictedRow

# Metrics of a confusion matrix, which can be computed from an expected one.
ESTIMABLE = ("accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "recall_macro")
# A class that is predicted but never occurs would count as 0: four mistakes in 200 rows would halve a macro F1.
_LEAST_SUPPORT = 1.0
_LEAST_EXPECTED_SUPPORT = 0.5
_CONFIDENCE = 0.95
_RESAMPLES = 500


class Quality(BaseModel):
    """A version's metrics on a window of labelled production rows.

    Attributes
    ----------
    metric: the metric that decides.
    value: its value on the window; None without a verdict.
    low, high: its 95 % bootstrap interval.
    baseline: its value on the version's holdout.
    dropped: whether the metric dropped by the configured amount.
    metrics: every metric that is defined on the window.
    estimate: the metric expected from the probabilities alone, over the newest predictions.
    reason: the verdict in words.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    metric: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    dropped: bool = False
    n_rows: int
    metrics: dict[str, float] = {}
    estimate: float | None = None
    reason: str


@dataclass(frozen=True)
class ExpectedScores(metrics.ClassificationScores):
    """Predictions with probabilities in place of the truth: counts of rows are expected counts.

    A row predicted as class p counts in the cell (t, p) with the probability of t. Confidence-based performance
    estimation (CBPE; NannyML's documentation, "Confidence-based Performance Estimation"). It requires probabilities
    that are calibrated on production rows: it follows drift of the features within the training distribution, and
    does not detect concept drift.

    A class with an expected count below half a row is left out of a macro metric: most likely, no row belongs to it.
    """

    least_support: float | None = _LEAST_EXPECTED_SUPPORT

    def margins(self, weights: metrics.Floats) -> metrics.Margins:
        """Return the expected counts of rows by class."""
        if self.probabilities is None:
            raise ValueError("an estimate needs probabilities")
        predicted = metrics.one_hot(self.predicted, self.n_classes)
        return metrics.Margins(
            weights @ (self.probabilities * predicted), weights @ self.probabilities, weights @ predicted
        )


def measure(
    rows: Sequence[LabelledRow],
    unlabelled: Sequence[PredictedRow],
    version: str,
    metric: str,
    limits: QualityDrop,
    baseline: float | None,
    seed: int,
    task: TaskName,
    positive: Label | None = None,
    costs: Costs | None = None,
    *,
    time: str | None = None,
    grouped: bool = False,
) -> Quality:
    """Measure a version on a window, and decide whether its quality dropped.

    It dropped if the metric is worse than the baseline by ``drop`` or more, and the whole interval is worse than the
    baseline. A macro metric is the mean over the classes that occur in the window.

    Parameters
    ----------
    rows: labelled rows that the version predicted.
    unlabelled: its newest predictions, for the estimate.
    baseline: the metric on the version's holdout; None if it is unknown.
    positive, costs: as for ``scores_of``.
    time: the feature that orders the rows: neighbours are then alike, and the bootstrap draws blocks of them, as on
        the holdout.
    grouped: whether several series have rows of one time.
    """
    estimate = estimated(unlabelled, metric)
    if time is not None:
        rows = sorted(rows, key=lambda row: str(row.features.get(time)))
    scores = scores_of(rows, task, positive, costs)
    n_rows = 0 if scores is None else len(scores)
    if scores is None or n_rows < limits.minimum_rows:
        reason = f"too few rows to tell: {n_rows} labelled, {limits.minimum_rows} are needed"
        return Quality(version=version, metric=metric, n_rows=n_rows, estimate=estimate, reason=reason)
    reason, figures = f"{metric} is not defined on this window of {n_rows} rows", defined_metrics(scores)
    found = Quality(version=version, metric=metric, n_rows=n_rows, metrics=figures, estimate=estimate, reason=reason)
    if metric not in figures:
        return found
    n_times = len({row.features.get(time) for row in rows}) if time and grouped else n_rows
    block = 1 if time is None else dependent_block(n_rows, n_times)
    return _compared(found, interval(metric, scores, _CONFIDENCE, _RESAMPLES, seed, block), baseline, limits.drop)


def defined_metrics(scores: metrics.Scores) -> dict[str, float]:
    """Return every metric that is defined on some rows, by name."""
    figures = {name: metrics.point(name, scores) for name in metrics.available(scores)}
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def scores_of(
    rows: Sequence[LabelledRow],
    task: TaskName,
    positive: Label | None = None,
    costs: Costs | None = None,
) -> metrics.Scores | None:
    """Return labelled rows as scores, or None if no row can be scored.

    Their macro metrics are averaged over the classes that occur.

    Parameters
    ----------
    rows: rows from the store, which can return a whole number as an integer, whatever the task.
    positive, costs: of a model with two classes, from its schema.
    """
    scored = truth_of(rows, task)
    if not scored:
        return None
    if task not in LABELLED:
        truth = np.array([row.target for row in scored], dtype=float)
        return metrics.RegressionScores(truth, np.array([row.prediction for row in scored], dtype=float))
    names = _classes(scored, [row.target for row in scored if row.target is not None])
    place = {name: position for position, name in enumerate(names)}
    return metrics.ClassificationScores(
        np.array([place[str(row.target)] for row in scored], dtype=np.int64),
        np.array([place[str(row.prediction)] for row in scored], dtype=np.int64),
        _shares(scored, place),
        len(names),
        _LEAST_SUPPORT,
        place.get(str(positive)),
        (costs.false_negative, costs.false_positive) if costs else None,
    )


def truth_of(rows: Sequence[LabelledRow], task: TaskName) -> list[LabelledRow]:
    """Return the rows that can be scored, each with a target.

    If feedback only marks a prediction as wrong, the target is the most probable other class, or, for a model without
    probabilities, the most frequent one. Leaving such rows out would overestimate the model's quality. A
    regression row without a target is left out.
    """
    if task not in LABELLED:
        return [row for row in rows if row.target is not None]
    usual = _most_frequent(rows)
    found = ((row, _truth(row, usual)) for row in rows)
    return [row._replace(target=truth) for row, truth in found if truth is not None]


def estimated(rows: Sequence[PredictedRow], metric: str) -> float | None:
    """Return the expected value of a metric on rows without labels, or None if it cannot be estimated.

    Parameters
    ----------
    rows: predictions with probabilities.
    metric: one of ``ESTIMABLE``; a macro metric also needs a class with an expected count of half a row or more.
    """
    if metric not in ESTIMABLE or not rows:
        return None
    names = _classes(rows, [])
    place = {name: position for position, name in enumerate(names)}
    shares = _shares(rows, place)
    if shares is None:
        return None
    predicted = np.array([place[str(row.prediction)] for row in rows], dtype=np.int64)
    value = metrics.point(metric, ExpectedScores(predicted, predicted, shares, len(names)))
    return None if math.isnan(value) else value


def _compared(found: Quality, ends: tuple[float, float], baseline: float | None, drop: float) -> Quality:
    """Return figures with the interval of the metric and the verdict against the baseline."""
    value = found.metrics[found.metric]
    dropped, reason = _verdict(found.metric, value, ends, baseline, drop, found.n_rows)
    update = {"value": value, "low": ends[0], "high": ends[1], "baseline": baseline, "dropped": dropped}
    return found.model_copy(update=update | {"reason": reason})


def _verdict(
    metric: str, value: float, ends: tuple[float, float], baseline: float | None, drop: float, n_rows: int
) -> tuple[bool, str]:
    measured = f"{metric} {value:.3f} (95 % interval {ends[0]:.3f} to {ends[1]:.3f}, {n_rows} rows)"
    if baseline is None:
        return False, f"{measured}, its value on the holdout is unknown"
    if metric in LOSSES:
        dropped = value >= baseline + drop and ends[0] > baseline
    else:
        dropped = value <= baseline - drop and ends[1] < baseline
    return dropped, f"{measured}, {baseline:.3f} on the holdout"


def _truth(row: LabelledRow, usual: Sequence[str]) -> Label | None:
    if row.target is not None:
        return row.target
    if row.correct is not False:
        return None
    likely = sorted(row.probabilities, key=row.probabilities.__getitem__, reverse=True) if row.probabilities else usual
    return next((name for name in likely if name != str(row.prediction)), None)


def _most_frequent(rows: Sequence[LabelledRow]) -> list[str]:
    """Return all targets and predictions: the most frequent target first, ties by name."""
    truths = Counter(str(row.target) for row in rows if row.target is not None)
    names = sorted(set(truths) | {str(row.prediction) for row in rows})
    return sorted(names, key=truths.__getitem__, reverse=True)


def _classes(rows: Sequence[PredictedRow | LabelledRow], truths: Sequence[Label]) -> list[str]:
    names = {str(row.prediction) for row in rows} | {str(truth) for truth in truths}
    for row in rows:
        names.update(row.probabilities or ())
    return sorted(names)


def _shares(rows: Sequence[PredictedRow | LabelledRow], place: dict[str, int]) -> npt.NDArray[np.float64] | None:
    known = [row.probabilities for row in rows if row.probabilities is not None]
    if len(known) < len(rows):
        return None
    return np.array([[shares.get(name, 0.0) for name in place] for shares in known])
