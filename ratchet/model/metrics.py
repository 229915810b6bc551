"""Metrics as functions of row weights, so that one bootstrap resample is one row of a weight matrix.

With all weights one, each equals scikit-learn's function of the same name, unless the scores say over which classes a
macro metric is averaged. With ``weights`` of shape (resamples, rows), each row a multinomial count, they give the
metric of every resample at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Margins(NamedTuple):
    """Rows by class, each of shape (resamples, n_classes).

    Attributes
    ----------
    hits: that are of the class and were answered so.
    support: that are of the class.
    predicted: that were answered so.
    """

    hits: Floats
    support: Floats
    predicted: Floats


@dataclass(frozen=True)
class ClassificationScores:
    """Predictions beside the truth.

    Attributes
    ----------
    truth: class positions, shape (rows,), in [0, n_classes).
    predicted: class positions, shape (rows,).
    probabilities: shape (rows, n_classes), or None where the estimator has none.
    n_classes: number of classes.
    least_support: the rows from which on a class counts in a macro metric. None is scikit-learn's rule: every class
        that occurs or is predicted, so that one which is predicted and never occurs counts as 0.
    positive: of two classes, the place of the one that f1, recall and the like measure; else None.
    costs: of a false negative and a false positive; None where nobody said.
    """

    truth: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    probabilities: Floats | None
    n_classes: int
    least_support: float | None = None
    positive: int | None = None
    costs: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def margins(self, weights: Floats) -> Margins:
        """The diagonal, the rows' sums and the columns' sums of the confusion matrices."""
        truth, predicted = one_hot(self.truth, self.n_classes), one_hot(self.predicted, self.n_classes)
        return Margins(weights @ (truth * predicted), weights @ truth, weights @ predicted)


@dataclass(frozen=True)
class RegressionScores:
    """Predictions beside the truth, each of shape (rows,)."""

    truth: Floats
    predicted: Floats

    def __len__(self) -> int:
        return len(self.truth)


Scores = ClassificationScores | RegressionScores


def one_hot(classes: npt.NDArray[np.int64], n_classes: int) -> Floats:
    """Class positions as indicators, shape (rows, n_classes)."""
    indicators = np.zeros((len(classes), n_classes))
    indicators[np.arange(len(classes)), classes] = 1.0
    return indicators


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Quotients, and 0 where the denominator is 0, as scikit-learn's ``zero_division=0``."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _ratio_or_nan(numerator: Floats, denominator: Floats) -> Floats:
    """Quotients, and NaN where the denominator is 0: the metric is not defined there."""
    out = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def _mean_over(values: Floats, included: npt.NDArray[np.bool_]) -> Floats:
    return _ratio_or_nan(np.where(included, values, 0.0).sum(axis=1), included.sum(axis=1).astype(float))


def _macro(values: Floats, scores: ClassificationScores, margins: Margins) -> Floats:
    least = scores.least_support
    return _mean_over(values, margins.support + margins.predicted > 0 if least is None else margins.support >= least)


def _probabilities(scores: ClassificationScores) -> Floats:
    if scores.probabilities is None:
        raise ValueError("this metric needs probabilities, and the estimator has none")
    return scores.probabilities


def accuracy(scores: ClassificationScores, weights: Floats) -> Floats:
    """Share of right predictions."""
    margins = scores.margins(weights)
    return _divide(margins.hits.sum(axis=1), margins.support.sum(axis=1))


def balanced_accuracy(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean recall over the classes that occur, or have the least support that the scores ask for."""
    hits, support, _ = scores.margins(weights)
    least = scores.least_support
    return _mean_over(_divide(hits, support), support > 0 if least is None else support >= least)


def f1_macro(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean F1 over the classes that occur or are predicted, or have the least support that the scores ask for."""
    margins = scores.margins(weights)
    return _macro(_divide(2 * margins.hits, margins.support + margins.predicted), scores, margins)


def precision_macro(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean precision over the same classes as for ``f1_macro``."""
    margins = scores.margins(weights)
    return _macro(_divide(margins.hits, margins.predicted), scores, margins)


def recall_macro(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean recall over the same classes as for ``f1_macro``."""
    margins = scores.margins(weights)
    return _macro(_divide(margins.hits, margins.support), scores, margins)


def _positive(scores: ClassificationScores) -> int:
    if scores.positive is None:
        raise ValueError("this metric needs two classes, one of which counts as positive")
    return scores.positive


def precision(scores: ClassificationScores, weights: Floats) -> Floats:
    """Share of the positives among what was answered as positive."""
    margins, at = scores.margins(weights), _positive(scores)
    return _divide(margins.hits[:, at], margins.predicted[:, at])


def recall(scores: ClassificationScores, weights: Floats) -> Floats:
    """Share of the positives that were found."""
    margins, at = scores.margins(weights), _positive(scores)
    return _divide(margins.hits[:, at], margins.support[:, at])


def f1(scores: ClassificationScores, weights: Floats) -> Floats:
    """The harmonic mean of precision and recall."""
    return _f_beta(scores, weights, 1.0)


def f2(scores: ClassificationScores, weights: Floats) -> Floats:
    """The F-measure that weighs recall twice as much as precision: where a missed positive is the worse mistake."""
    return _f_beta(scores, weights, 2.0)


def _f_beta(scores: ClassificationScores, weights: Floats, beta: float) -> Floats:
    """(1 + b²) hits / (b² support + predicted); C. J. van Rijsbergen, "Information Retrieval", 1979, chapter 7."""
    margins, at = scores.margins(weights), _positive(scores)
    return _divide((1 + beta**2) * margins.hits[:, at], beta**2 * margins.support[:, at] + margins.predicted[:, at])


def cost(scores: ClassificationScores, weights: Floats) -> Floats:
    """What mistakes cost a row, on average, in the unit of the costs."""
    if scores.costs is None:
        raise ValueError("this metric needs dataset.costs")
    margins, at = scores.margins(weights), _positive(scores)
    missed = margins.support[:, at] - margins.hits[:, at]
    false_alarms = margins.predicted[:, at] - margins.hits[:, at]
    return _divide(scores.costs[0] * missed + scores.costs[1] * false_alarms, margins.support.sum(axis=1))


def average_precision(scores: ClassificationScores, weights: Floats) -> Floats:
    """Precision at each threshold, weighted by the recall that it adds; NaN where there is no positive."""
    at = _positive(scores)
    score, positive = _probabilities(scores)[:, at], scores.truth == at
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(score[order]) < 0, True])
    hits = np.cumsum(weights[:, order] * positive[order], axis=1)[:, ends]
    answered = np.cumsum(weights[:, order], axis=1)[:, ends]
    added = np.diff(hits, axis=1, prepend=0.0)
    return _ratio_or_nan((added * _divide(hits, answered)).sum(axis=1), hits[:, -1])


def log_loss(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean negative log-probability of the true class, in nats."""
    chosen = _probabilities(scores)[np.arange(len(scores)), scores.truth]
    losses = -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0))
    return _divide(weights @ losses, weights.sum(axis=1))


def roc_auc(scores: ClassificationScores, weights: Floats) -> Floats:
    """Area under the ROC curve; with more than two classes the mean of one-vs-rest."""
    probabilities = _probabilities(scores)
    classes = [1] if scores.n_classes == 2 else range(scores.n_classes)
    areas = np.stack([_auc(probabilities[:, c], scores.truth == c, weights) for c in classes])
    return np.asarray(areas.mean(axis=0))


def _auc(score: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """P(score of a positive > score of a negative) + P(equal) / 2; NaN where one side is missing."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    up = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    down = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(down, axis=1) - down
    pairs = up.sum(axis=1) * down.sum(axis=1)
    wins = (up * (below + down / 2)).sum(axis=1)
    return _ratio_or_nan(wins, pairs)


def mae(scores: RegressionScores, weights: Floats) -> Floats:
    """Mean absolute error, in the target's unit."""
    return _divide(weights @ np.abs(scores.truth - scores.predicted), weights.sum(axis=1))


def rmse(scores: RegressionScores, weights: Floats) -> Floats:
    """Root mean squared error, in the target's unit."""
    return np.sqrt(_divide(weights @ (scores.truth - scores.predicted) ** 2, weights.sum(axis=1)))


def r2(scores: RegressionScores, weights: Floats) -> Floats:
    """Coefficient of determination; NaN where the truth does not vary."""
    total = weights.sum(axis=1)
    mean = _divide(weights @ scores.truth, total)
    spread = (weights * (scores.truth - mean[:, None]) ** 2).sum(axis=1)
    residual = weights @ (scores.truth - scores.predicted) ** 2
    return 1 - _ratio_or_nan(residual, spread)


def mape(scores: RegressionScores, weights: Floats) -> Floats:
    """Mean absolute error as a share of the truth, as scikit-learn has it: a truth of 0 counts as 2.2e-16."""
    size = np.maximum(np.abs(scores.truth), np.finfo(np.float64).eps)
    return _divide(weights @ (np.abs(scores.truth - scores.predicted) / size), weights.sum(axis=1))


_OF_ALL_CLASSES = (accuracy, balanced_accuracy, f1_macro, precision_macro, recall_macro, log_loss, roc_auc)
_OF_THE_POSITIVE = (f1, f2, precision, recall, average_precision, cost)
CLASSIFICATION: dict[str, Callable[[ClassificationScores, Floats], Floats]] = {
    f.__name__: f for f in (*_OF_ALL_CLASSES, *_OF_THE_POSITIVE)
}
REGRESSION: dict[str, Callable[[RegressionScores, Floats], Floats]] = {f.__name__: f for f in (rmse, mae, r2, mape)}
NEEDS_PROBABILITIES = frozenset({"log_loss", "roc_auc", "average_precision"})
NEEDS_POSITIVE = frozenset(f.__name__ for f in _OF_THE_POSITIVE)


def score(name: str, scores: Scores, weights: Floats) -> Floats:
    """One metric for each row of ``weights``.

    Parameters
    ----------
    name: a metric of the scores' task.
    scores: predictions beside the truth.
    weights: shape (resamples, rows), not negative.

    Returns
    -------
    shape (resamples,).
    """
    functions: dict[str, Callable[[Any, Floats], Floats]] = (
        CLASSIFICATION if isinstance(scores, ClassificationScores) else REGRESSION
    )
    return functions[name](scores, weights)


def point(name: str, scores: Scores) -> float:
    """One metric of all rows."""
    return float(score(name, scores, np.ones((1, len(scores))))[0])


def available(scores: Scores) -> Sequence[str]:
    """The metrics that these scores can give."""
    if isinstance(scores, RegressionScores):
        return list(REGRESSION)
    missing = NEEDS_PROBABILITIES if scores.probabilities is None else frozenset()
    missing |= NEEDS_POSITIVE if scores.positive is None else frozenset()
    missing |= {"cost"} if scores.costs is None else frozenset()
    return [name for name in CLASSIFICATION if name not in missing]
