"""How good the champion is in production: measured where labels have come, estimated while they are late."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from ratchet.config import LABELLED, LOSSES, Costs, TaskName
from ratchet.config.continuous import QualityDrop
from ratchet.model import metrics
from ratchet.model.evaluation import interval
from ratchet.model.tasks import dependent_block
from ratchet.monitoring.production_rows import Label, LabelledRow, PredictedRow

# Metrics that follow from a confusion matrix, and so from an expected one.
ESTIMABLE = ("accuracy", "balanced_accuracy", "f1_macro", "precision_macro", "recall_macro")
# A class that is predicted and never occurs in a window would count as 0: four mistakes in 200 rows would halve F1.
_LEAST_SUPPORT = 1.0
_LEAST_EXPECTED_SUPPORT = 0.5
_CONFIDENCE = 0.95
_RESAMPLES = 500


class Quality(BaseModel):
    """A version's figures on a window of labelled production rows.

    Attributes
    ----------
    version: the version that answered them.
    metric: the one that decides.
    value: its value on the window; None where there is no verdict.
    low, high: its 95 % bootstrap interval.
    baseline: its value on the holdout, when the version was made.
    dropped: whether the window shows a fall of the size that was asked for.
    n_rows: rows in the window.
    metrics: every metric that is defined on the window.
    estimate: the metric as it is expected from the probabilities alone, over the newest predictions.
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
    """Predictions beside probabilities in place of the truth: the counts of rows are expected ones.

    A row that was answered with class p counts in the cell (t, p) with the probability of t. Confidence-based
    performance estimation (CBPE; NannyML's documentation, "Confidence-based Performance Estimation"). It holds as far
    as the probabilities are calibrated on what production sends: it follows a drift of the features within what the
    model knows, and is blind to a change of what the features mean.

    A class of which less than half a row is expected does not count in a macro metric: the most likely window has no
    row of it.
    """

    least_support: float | None = _LEAST_EXPECTED_SUPPORT

    def margins(self, weights: metrics.Floats) -> metrics.Margins:
        """The expected counts of rows by class."""
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
    asked: QualityDrop,
    baseline: float | None,
    seed: int,
    task: TaskName,
    positive: Label | None = None,
    costs: Costs | None = None,
    *,
    in_order: bool = False,
) -> Quality:
    """Measure a version on a window, and say whether it has fallen.

    It has fallen when the metric is worse than the baseline by at least ``drop``, and the whole interval is worse than
    the baseline. A macro metric is the mean over the classes that occur in the window: one that is predicted here and
    there, and of which no row came, does not count as 0.

    Parameters
    ----------
    rows: labelled rows that the version answered.
    unlabelled: its newest predictions, for the estimate.
    version: the version.
    metric: which metric decides.
    asked: sizes and limits.
    baseline: the metric on the version's holdout, None where it is not known.
    seed: of the bootstrap.
    task: of the version.
    positive, costs: as for ``scores_of``.
    in_order: whether time orders the rows: those that follow each other are alike, and the bootstrap draws them
        together, as on the holdout.
    """
    estimate = estimated(unlabelled, metric)
    scores = scores_of(rows, task, positive, costs)
    if scores is None or len(scores) < asked.minimum_rows:
        found = 0 if scores is None else len(scores)
        reason = f"{found} labelled rows, {asked.minimum_rows} are needed"
        return Quality(version=version, metric=metric, n_rows=found, estimate=estimate, reason=reason)
    figures = {name: metrics.point(name, scores) for name in metrics.available(scores)}
    figures = {name: value for name, value in figures.items() if not math.isnan(value)}
    if metric not in figures:
        reason = f"{metric} is not defined on this window of {len(scores)} rows"
        return Quality(
            version=version, metric=metric, n_rows=len(scores), metrics=figures, estimate=estimate, reason=reason
        )
    value = figures[metric]
    block = dependent_block(len(scores)) if in_order else 1
    low, high = interval(metric, scores, _CONFIDENCE, _RESAMPLES, seed, block)
    dropped, reason = _verdict(metric, value, (low, high), baseline, asked.drop, len(scores))
    return Quality(
        version=version,
        metric=metric,
        value=value,
        low=low,
        high=high,
        baseline=baseline,
        dropped=dropped,
        n_rows=len(scores),
        metrics=figures,
        estimate=estimate,
        reason=reason,
    )


def scores_of(
    rows: Sequence[LabelledRow],
    task: TaskName,
    positive: Label | None = None,
    costs: Costs | None = None,
) -> metrics.Scores | None:
    """Labelled rows as scores; None where there is nothing to score.

    Macro metrics of them are averaged over the classes that occur.

    Parameters
    ----------
    rows: as the store gives them; a whole number may be an integer there, whatever the task.
    task: of the model.
    positive, costs: of a model with two classes, as its schema has them.
    """
    judged = truth_of(rows, task)
    if not judged:
        return None
    if task not in LABELLED:
        truth = np.array([row.target for row in judged], dtype=float)
        return metrics.RegressionScores(truth, np.array([row.prediction for row in judged], dtype=float))
    names = _classes(judged, [row.target for row in judged if row.target is not None])
    place = {name: position for position, name in enumerate(names)}
    return metrics.ClassificationScores(
        np.array([place[str(row.target)] for row in judged], dtype=np.int64),
        np.array([place[str(row.prediction)] for row in judged], dtype=np.int64),
        _shares(judged, place),
        len(names),
        _LEAST_SUPPORT,
        place.get(str(positive)),
        (costs.false_negative, costs.false_positive) if costs else None,
    )


def truth_of(rows: Sequence[LabelledRow], task: TaskName) -> list[LabelledRow]:
    """The rows that can be scored, each with a target.

    Of a row that is only known to be wrong, the truth is taken to be the class that the model thought the most likely
    of the others, or, of a model without probabilities, the one that was most often the truth: leaving such rows out
    would make the model look better than it is.

    Parameters
    ----------
    rows: as the store gives them.
    task: of the model; of a regression nothing is known without a target.
    """
    if task not in LABELLED:
        return [row for row in rows if row.target is not None]
    usual = _most_frequent(rows)
    found = ((row, _truth(row, usual)) for row in rows)
    return [row._replace(target=truth) for row, truth in found if truth is not None]


def estimated(rows: Sequence[PredictedRow], metric: str) -> float | None:
    """What a metric is expected to be on rows whose labels have not come; None where that cannot be said.

    Parameters
    ----------
    rows: predictions with probabilities.
    metric: one that follows from a confusion matrix; a macro metric also needs a class of which at least half a row is
        expected.
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


def _verdict(
    metric: str, value: float, ends: tuple[float, float], baseline: float | None, drop: float, n_rows: int
) -> tuple[bool, str]:
    said = f"{metric} {value:.3f} (95 % interval {ends[0]:.3f} to {ends[1]:.3f}, {n_rows} rows)"
    if baseline is None:
        return False, f"{said}, the holdout's figure is not known"
    if metric in LOSSES:
        dropped = value >= baseline + drop and ends[0] > baseline
    else:
        dropped = value <= baseline - drop and ends[1] < baseline
    return dropped, f"{said}, {baseline:.3f} on the holdout"


def _truth(row: LabelledRow, usual: Sequence[str]) -> Label | None:
    if row.target is not None:
        return row.target
    if row.correct is not False:
        return None
    likely = sorted(row.probabilities, key=row.probabilities.__getitem__, reverse=True) if row.probabilities else usual
    return next((name for name in likely if name != str(row.prediction)), None)


def _most_frequent(rows: Sequence[LabelledRow]) -> list[str]:
    """All classes that were a truth or a prediction: the most frequent truth first, ties in the names' order."""
    truths = Counter(str(row.target) for row in rows if row.target is not None)
    names = sorted(set(truths) | {str(row.prediction) for row in rows})
    return sorted(names, key=truths.__getitem__, reverse=True)


def _classes(rows: Sequence[PredictedRow | LabelledRow], truths: Sequence[Label]) -> list[str]:
    """The names of all classes that a row knows of."""
    names = {str(row.prediction) for row in rows} | {str(truth) for truth in truths}
    for row in rows:
        names.update(row.probabilities or ())
    return sorted(names)


def _shares(rows: Sequence[PredictedRow | LabelledRow], place: dict[str, int]) -> npt.NDArray[np.float64] | None:
    if any(row.probabilities is None for row in rows):
        return None
    shares: npt.NDArray[Any] = np.zeros((len(rows), len(place)))
    for at, row in enumerate(rows):
        for name, share in (row.probabilities or {}).items():
            shares[at, place[name]] = share
    return shares
