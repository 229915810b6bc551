"""Metrics as functions of scores and row weights, so that one call computes a metric of many bootstrap resamples.

``weights`` has shape (resamples, rows), each row a multinomial count; a metric has shape (resamples,) and is NaN where
it is not defined. With all weights 1, each metric equals scikit-learn's function of the same name, except that
``least_support`` changes which classes a macro metric averages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]


class Margins(NamedTuple):
    """Diagonal, row sums and column sums of confusion matrices, each of shape (resamples, n_classes).

    Attributes
    ----------
    hits: rows of the class that were predicted as such.
    support: rows of the class.
    predicted: rows that were predicted as the class.
    """

    hits: Floats
    support: Floats
    predicted: Floats


@dataclass(frozen=True)
class ClassificationScores:
    """Predicted and true classes of some rows.

    Attributes
    ----------
    truth, predicted: class positions in [0, n_classes), shape (rows,).
    probabilities: shape (rows, n_classes); None if the estimator has none.
    least_support: rows that a class needs to count in a macro metric; None counts every class that occurs or is
        predicted, as scikit-learn does.
    positive: position of the positive one of two classes, else None.
    costs: cost of a false negative and of a false positive, if known.
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
        """Return the margins of the confusion matrix of each resample."""
        truth, predicted = one_hot(self.truth, self.n_classes), one_hot(self.predicted, self.n_classes)
        return Margins(weights @ (truth * predicted), weights @ truth, weights @ predicted)


@dataclass(frozen=True)
class RegressionScores:
    """Predicted and true numbers of some rows, each of shape (rows,)."""

    truth: Floats
    predicted: Floats

    def __len__(self) -> int:
        return len(self.truth)


Scores = ClassificationScores | RegressionScores


def one_hot(classes: npt.NDArray[np.int64], n_classes: int) -> Floats:
    """Return class positions as indicators, shape (rows, n_classes)."""
    return np.asarray(np.eye(n_classes)[classes])


def accuracy(scores: ClassificationScores, weights: Floats) -> Floats:
    """Share of correct predictions."""
    margins = scores.margins(weights)
    return _divide(margins.hits.sum(axis=1), margins.support.sum(axis=1))


def balanced_accuracy(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean recall of the classes that occur or, if it is set, that have ``least_support``."""
    hits, support, _ = scores.margins(weights)
    least = scores.least_support
    return _mean_over(_divide(hits, support), support > 0 if least is None else support >= least)


def f1_macro(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean F1 of the classes that occur or are predicted or, if it is set, that have ``least_support``."""
    margins = scores.margins(weights)
    return _macro(_divide(2 * margins.hits, margins.support + margins.predicted), scores, margins)


def precision_macro(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean precision of the same classes as for ``f1_macro``."""
    margins = scores.margins(weights)
    return _macro(_divide(margins.hits, margins.predicted), scores, margins)


def recall_macro(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean recall of the same classes as for ``f1_macro``."""
    margins = scores.margins(weights)
    return _macro(_divide(margins.hits, margins.support), scores, margins)


def precision(scores: ClassificationScores, weights: Floats) -> Floats:
    """Share of true positives among the rows that are predicted as positive."""
    margins = _of_positive(scores, weights)
    return _divide(margins.hits, margins.predicted)


def recall(scores: ClassificationScores, weights: Floats) -> Floats:
    """Share of the positive rows that are predicted as positive."""
    margins = _of_positive(scores, weights)
    return _divide(margins.hits, margins.support)


def f1(scores: ClassificationScores, weights: Floats) -> Floats:
    """Harmonic mean of precision and recall."""
    return _f_beta(scores, weights, 1.0)


def f2(scores: ClassificationScores, weights: Floats) -> Floats:
    """F-measure that weights recall twice as much as precision."""
    return _f_beta(scores, weights, 2.0)


def cost(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean cost of a row, in the unit of the costs."""
    if scores.costs is None:
        raise ValueError("this metric needs dataset.costs")
    margins = _of_positive(scores, weights)
    false_negatives, false_positives = margins.support - margins.hits, margins.predicted - margins.hits
    return _divide(scores.costs[0] * false_negatives + scores.costs[1] * false_positives, weights.sum(axis=1))


def average_precision(scores: ClassificationScores, weights: Floats) -> Floats:
    """Precision at each threshold, weighted by the gain in recall; NaN without a positive row."""
    at = _positive(scores)
    score, positive = _probabilities(scores)[:, at], scores.truth == at
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(score[order]) < 0, True])
    hits = np.cumsum(weights[:, order] * positive[order], axis=1)[:, ends]
    predicted = np.cumsum(weights[:, order], axis=1)[:, ends]
    gains = np.diff(hits, axis=1, prepend=0.0)
    return _ratio_or_nan((gains * _divide(hits, predicted)).sum(axis=1), hits[:, -1])


def log_loss(scores: ClassificationScores, weights: Floats) -> Floats:
    """Mean negative log-probability of the true class, in nats."""
    chosen = _probabilities(scores)[np.arange(len(scores)), scores.truth]
    losses = -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0))
    return _divide(weights @ losses, weights.sum(axis=1))


def roc_auc(scores: ClassificationScores, weights: Floats) -> Floats:
    """Area under the ROC curve; for more than two classes the mean of one-vs-rest."""
    probabilities = _probabilities(scores)
    classes = [1] if scores.n_classes == 2 else range(scores.n_classes)
    areas = np.stack([_auc(probabilities[:, c], scores.truth == c, weights) for c in classes])
    return np.asarray(areas.mean(axis=0))


def mae(scores: RegressionScores, weights: Floats) -> Floats:
    """Mean absolute error, in the unit of the target."""
    return _divide(weights @ np.abs(scores.truth - scores.predicted), weights.sum(axis=1))


def rmse(scores: RegressionScores, weights: Floats) -> Floats:
    """Root mean squared error, in the unit of the target."""
    return np.sqrt(_divide(weights @ (scores.truth - scores.predicted) ** 2, weights.sum(axis=1)))


def r2(scores: RegressionScores, weights: Floats) -> Floats:
    """Coefficient of determination; NaN for a constant truth."""
    mean = _divide(weights @ scores.truth, weights.sum(axis=1))
    spread = (weights * (scores.truth - mean[:, None]) ** 2).sum(axis=1)
    residual = weights @ (scores.truth - scores.predicted) ** 2
    return 1 - _ratio_or_nan(residual, spread)


def mape(scores: RegressionScores, weights: Floats) -> Floats:
    """Mean absolute error relative to the truth, of which 0 counts as 2.2e-16, as in scikit-learn."""
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
# Functions of the confusion matrix alone.
OF_COUNTS = frozenset(CLASSIFICATION) - NEEDS_PROBABILITIES


def score(name: str, scores: Scores, weights: Floats) -> Floats:
    """Return a metric of each resample, shape (resamples,).

    Parameters
    ----------
    name: one of ``available(scores)``.
    weights: shape (resamples, rows), not negative.
    """
    functions: dict[str, Callable[[Any, Floats], Floats]] = (
        CLASSIFICATION if isinstance(scores, ClassificationScores) else REGRESSION
    )
    return functions[name](scores, weights)


def point(name: str, scores: Scores) -> float:
    """Return a metric of all rows."""
    return float(score(name, scores, np.ones((1, len(scores))))[0])


def n_different(name: str, one: Scores, other: Scores) -> int:
    """Return the number of rows on which two models differ in what a metric reads of their predictions."""
    if isinstance(one, ClassificationScores) and isinstance(other, ClassificationScores) and name not in OF_COUNTS:
        return int((_probabilities(one) != _probabilities(other)).any(axis=1).sum())
    return int((one.predicted != other.predicted).sum())


def available(scores: Scores) -> Sequence[str]:
    """Return the names of the metrics that can be computed from these scores."""
    if isinstance(scores, RegressionScores):
        return list(REGRESSION)
    missing = NEEDS_PROBABILITIES if scores.probabilities is None else frozenset()
    missing |= NEEDS_POSITIVE if scores.positive is None else frozenset()
    missing |= {"cost"} if scores.costs is None else frozenset()
    return [name for name in CLASSIFICATION if name not in missing]


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, with 0 for a denominator of 0, as scikit-learn's ``zero_division=0``."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _ratio_or_nan(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _mean_over(values: Floats, included: Booleans) -> Floats:
    return _ratio_or_nan(np.where(included, values, 0.0).sum(axis=1), included.sum(axis=1).astype(float))


def _macro(values: Floats, scores: ClassificationScores, margins: Margins) -> Floats:
    least = scores.least_support
    return _mean_over(values, margins.support + margins.predicted > 0 if least is None else margins.support >= least)


def _probabilities(scores: ClassificationScores) -> Floats:
    if scores.probabilities is None:
        raise ValueError("this metric needs probabilities, and the estimator has none")
    return scores.probabilities


def _positive(scores: ClassificationScores) -> int:
    if scores.positive is None:
        raise ValueError("this metric needs two classes, one of which is the positive class")
    return scores.positive


def _of_positive(scores: ClassificationScores, weights: Floats) -> Margins:
    """Return the margins of the positive class, each of shape (resamples,)."""
    at = _positive(scores)
    return Margins(*(counts[:, at] for counts in scores.margins(weights)))


def _f_beta(scores: ClassificationScores, weights: Floats, beta: float) -> Floats:
    """(1 + b²) hits / (b² support + predicted); C. J. van Rijsbergen, "Information Retrieval", 1979, chapter 7."""
    margins = _of_positive(scores, weights)
    return _divide((1 + beta**2) * margins.hits, beta**2 * margins.support + margins.predicted)


def _auc(score: Floats, positive: Booleans, weights: Floats) -> Floats:
    """P(score of a positive > score of a negative) + P(equal) / 2; NaN if either is missing."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    up = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    down = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(down, axis=1) - down
    return _ratio_or_nan((up * (below + down / 2)).sum(axis=1), up.sum(axis=1) * down.sum(axis=1))
