"""The decision threshold with the least cost of mistakes, searched by scikit-learn and fixed in the fitted model."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.metrics import make_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    StratifiedKFold,
    TimeSeriesSplit,
    TunedThresholdClassifierCV,
)

from ratchet.config import Costs

_FOLDS = 5
# Candidate thresholds: steps of 10 % in the odds, up to a factor of e^8 on both sides of Elkan's threshold.
_LOG_ODDS = np.linspace(-8.0, 8.0, 161)

Fold = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


class CostThresholdSearch(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is not typed
    """Fit a classifier of two classes, and choose the probability from which it predicts the positive one.

    The threshold has the least mean cost on folds of the training rows. Among thresholds of equal cost it is the
    nearest to c_fp / (c_fp + c_fn), which is optimal for calibrated probabilities (C. Elkan, "The foundations of
    cost-sensitive learning", 2001). Elkan's threshold is also used if the training rows allow no fold.

    Parameters
    ----------
    estimator: a classifier with ``predict_proba``.
    costs: of one mistake of each kind.
    positive: the class whose miss is a false negative.
    in_order: rows are ordered by time, and each fold is validated on newer rows than it is fitted on.
    random_state: seed of the shuffle before the folds; unused if ``in_order``.

    Attributes
    ----------
    best_estimator_: a FixedThresholdClassifier, whose classifier is fitted on all rows.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        costs: Costs,
        positive: str | int | None = None,
        in_order: bool = False,
        random_state: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.costs = costs
        self.positive = positive
        self.in_order = in_order
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's names
        """Fit the classifier on all rows, oldest first if ``in_order``, and choose its threshold on folds of them.

        Raises
        ------
        ValueError: there are more than two classes, or the classifier refuses the data.
        """
        rows, target = np.asarray(X), np.asarray(y)
        elkan = self.costs.false_positive / (self.costs.false_positive + self.costs.false_negative)
        folds = self._folds(rows, target)
        if not folds:
            self.best_estimator_ = self._fixed(elkan).fit(rows, target)
            return self
        search = TunedThresholdClassifierCV(
            self.estimator,
            scoring=make_scorer(mean_cost, greater_is_better=False, pos_label=self.positive, costs=self.costs),
            response_method="predict_proba",
            # The first and the last one predict the same class for all rows.
            thresholds=np.r_[0.0, expit(logit(elkan) + _LOG_ODDS), np.nextafter(1.0, 2.0)],
            cv=folds,
            store_cv_results=True,
        ).fit(rows, target)
        scores, thresholds = search.cv_results_["scores"], search.cv_results_["thresholds"]
        cheapest = thresholds[np.isclose(scores, scores.max(), rtol=1e-12, atol=0.0)]
        self.best_estimator_ = self._fixed(float(cheapest[np.abs(cheapest - elkan).argmin()]))
        self.best_estimator_.estimator_ = search.estimator_  # a fit would repeat the one on all rows
        return self

    def _fixed(self, threshold: float) -> FixedThresholdClassifier:
        return FixedThresholdClassifier(
            clone(self.estimator), threshold=threshold, pos_label=self.positive, response_method="predict_proba"
        )

    def _folds(self, rows: npt.NDArray[Any], target: npt.NDArray[Any]) -> list[Fold]:
        """Folds that can be fitted, which need both classes; empty if none of them validates a positive row."""
        rarest = np.unique(target, return_counts=True)[1].min()
        splits = min(_FOLDS, len(rows) - 1 if self.in_order else rarest)
        if splits < 2:
            return []
        kind = (
            TimeSeriesSplit(splits)
            if self.in_order
            else StratifiedKFold(splits, shuffle=True, random_state=self.random_state)
        )
        folds = [(fitted, held) for fitted, held in kind.split(rows, target) if len(np.unique(target[fitted])) > 1]
        return folds if any((target[held] == self.positive).any() for _, held in folds) else []


def mean_cost(target: npt.NDArray[Any], predicted: npt.NDArray[Any], *, pos_label: str | int, costs: Costs) -> float:
    """Mean cost of a row, in the unit of the costs; labels of shape (rows,)."""
    missed = (target == pos_label) & (predicted != pos_label)
    false_alarms = (target != pos_label) & (predicted == pos_label)
    return float(costs.false_negative * missed.mean() + costs.false_positive * false_alarms.mean())


class CostThresholdClassifier(FixedThresholdClassifier):  # type: ignore[misc] # scikit-learn is not typed
    """Legacy, only for loading: models of release 0.1 with a threshold by cost hold it. It becomes its base class."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Convert the state that release 0.1 wrote."""
        classes = state["classes_"].tolist()
        self.__class__ = FixedThresholdClassifier
        self.__dict__.update(
            estimator=state["estimator"],
            estimator_=state["estimator_"],
            n_features_in_=state["n_features_in_"],
            threshold=state["threshold_"],
            pos_label=classes[-1] if state["positive"] is None else state["positive"],
            response_method="predict_proba",
        )
