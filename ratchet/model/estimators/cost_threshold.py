"""A classifier that answers with the class that costs least, by a threshold chosen on rows that it had not seen."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.model_selection import StratifiedKFold, TimeSeriesSplit
from sklearn.utils.validation import check_is_fitted

Label = str | int
Floats = npt.NDArray[np.float64]


class CostThresholdClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc] # not typed
    """Answers with the positive class from a probability on that makes mistakes cheapest.

    With probabilities that are right, the threshold would be c_fp / (c_fp + c_fn) (C. Elkan, "The foundations of
    cost-sensitive learning", 2001). Probabilities of real estimators are not, so that the threshold is the one with
    the least mean cost of out-of-fold predictions on the training rows; of several, the one nearest to Elkan's. Where
    no fold can be made, it is Elkan's. The probabilities stay what the estimator says.

    Parameters
    ----------
    estimator: a classifier with ``predict_proba``.
    false_negative, false_positive: what a mistake costs, above 0.
    positive: the class whose miss is the false negative; None is the last of the sorted classes.
    in_order: the rows are in the order of time, and each fold is validated on newer ones.
    folds: how many.
    threshold: one that was chosen elsewhere; None chooses.
    random_state: seed of the shuffle before the folds; without effect on rows in order.

    Attributes
    ----------
    classes_: sorted.
    estimator_: fitted on all rows.
    threshold_: the probability from which on the positive class is the answer.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        false_negative: float = 1.0,
        false_positive: float = 1.0,
        positive: Label | None = None,
        in_order: bool = False,
        folds: int = 5,
        threshold: float | None = None,
        random_state: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.false_negative = false_negative
        self.false_positive = false_positive
        self.positive = positive
        self.in_order = in_order
        self.folds = folds
        self.threshold = threshold
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's names
        """Choose the threshold, then fit the estimator on all rows.

        Parameters
        ----------
        X: shape (rows, features); oldest first where ``in_order``.
        y: the labels, shape (rows,).

        Raises
        ------
        ValueError: there are not two classes, the positive one is none of them, or a cost is not above 0.
        """
        self._check_costs()
        rows, truth = np.asarray(X), np.asarray(y)
        self.estimator_ = clone(self.estimator).fit(rows, truth)
        self.classes_ = np.asarray(self.estimator_.classes_)
        if len(self.classes_) != 2:
            raise ValueError(f"costs need two classes, and there are {self.classes_.tolist()}")
        if self.positive is not None and self.positive not in self.classes_.tolist():
            raise ValueError(f"positive: {self.positive!r} is none of {self.classes_.tolist()}")
        self.n_features_in_ = rows.shape[1]
        self.threshold_ = self._choose(rows, truth) if self.threshold is None else self.threshold
        return self

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """What the estimator says; shape (rows, 2)."""
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict_proba(X), dtype=np.float64)

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """The positive class from the threshold on, else the other; shape (rows,)."""
        at = self._at(self.classes_)
        positive = self.predict_proba(X)[:, at] >= self.threshold_
        return np.asarray(self.classes_[np.where(positive, at, 1 - at)])

    def _check_costs(self) -> None:
        for name in ("false_negative", "false_positive"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected a cost above 0")

    def _at(self, classes: npt.NDArray[Any]) -> int:
        return int(classes.tolist().index(classes[-1] if self.positive is None else self.positive))

    def _choose(self, rows: Any, truth: npt.NDArray[Any]) -> float:
        chances, positives = self._out_of_fold(rows, truth)
        usual = self.false_positive / (self.false_positive + self.false_negative)
        return self._cheapest(chances, positives, usual) if positives.any() else usual

    def _out_of_fold(self, rows: Any, truth: npt.NDArray[Any]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Probabilities of the positive class for rows that the estimator had not seen, and whether they are so."""
        positive = truth == self.classes_[self._at(self.classes_)]
        rarest = min(int(positive.sum()), int((~positive).sum()))
        fewest = len(truth) - 1 if self.in_order else rarest
        folds = min(self.folds, fewest)
        chances, told = [np.empty(0)], [np.empty(0, dtype=bool)]
        for fitted, left in self._splits(folds).split(rows, positive) if folds > 1 else ():
            if len(np.unique(truth[fitted])) == len(self.classes_):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the fit on all rows says the same once
                    model = clone(self.estimator).fit(rows[fitted], truth[fitted])
                chances.append(model.predict_proba(rows[left])[:, self._at(model.classes_)])
                told.append(positive[left])
        return np.concatenate(chances), np.concatenate(told)

    def _splits(self, folds: int) -> Any:
        if self.in_order:
            return TimeSeriesSplit(folds)
        return StratifiedKFold(folds, shuffle=True, random_state=self.random_state)

    def _cheapest(self, chances: Floats, positive: npt.NDArray[np.bool_], usual: float) -> float:
        """The threshold with the least cost: between two chances, or beyond them all."""
        order = np.argsort(chances)
        steps = np.where(positive[order], self.false_negative, -self.false_positive)
        # Cost of a threshold above the first k chances, beside that of one below them all.
        cost = np.r_[0.0, np.cumsum(steps)]
        ordered = chances[order]
        cuts = np.r_[True, ordered[1:] > ordered[:-1], True]
        low, high = np.r_[0.0, ordered][cuts], np.r_[ordered, np.nextafter(1.0, 2.0)][cuts]
        best = np.flatnonzero(cost[cuts] <= cost[cuts].min() + 1e-12 * (1 + abs(cost[cuts].min())))
        # Anything in (low, high] parts the rows alike: Elkan's if it lies inside, else the middle.
        inside = (low[best] < usual) & (usual <= high[best])
        middle = (low[best] + high[best]) / 2
        candidates = np.where(inside, usual, np.where(middle > low[best], middle, high[best]))
        return float(candidates[np.argmin(np.abs(candidates - usual))])
