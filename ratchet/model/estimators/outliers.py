"""An outlier detector as a classifier of two classes, which is what the code after training takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.ensemble import IsolationForest
from sklearn.utils.validation import check_is_fitted

Label = str | int
Floats = npt.NDArray[np.float64]

# Quantiles of the training scores that are kept.
_POINTS = 512


class OutlierClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc] # not typed
    """Predict the positive class for rows whose anomaly score is above a threshold.

    The detector sees features only; labels name the classes, and select rows for ``fit_on: normal``. A probability is
    the anomaly score on a scale from 0 to 1, and is not calibrated: half the empirical distribution of the training
    scores up to the threshold, where it is 0.5, and above it ``1 - 0.5 / (1 + excess)``, with the excess in units of
    the mean excess of the training rows. It increases with the score, strictly above the threshold, so rankings have no
    ties among anomalies.

    Parameters
    ----------
    detector: with ``score_samples`` and ``offset_``, as in scikit-learn; None is an IsolationForest.
    positive: the class of the anomalies; None is the last of the sorted classes.
    labels: the two classes, for training rows that are all of one; None takes those of the training rows.
    fit_on: ``all`` training rows, or the ``normal`` ones, which are not of the positive class.
    share: share of anomalies in the rows of the fit, in [0, 0.5]; None takes the detector's own threshold.
    random_state: seed of the default detector.

    Attributes
    ----------
    classes_: the two classes, sorted.
    detector_: fitted.
    threshold_: the largest anomaly score of a normal row; scores are the detector's with the sign changed.
    """

    def __init__(
        self,
        detector: BaseEstimator | None = None,
        positive: Label | None = None,
        labels: Sequence[Label] | None = None,
        fit_on: Literal["all", "normal"] = "all",
        share: float | None = None,
        random_state: int | None = None,
    ) -> None:
        self.detector = detector
        self.positive = positive
        self.labels = labels
        self.fit_on = fit_on
        self.share = share
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's names
        """Fit the detector and the scale of the probabilities to X of shape (rows, features), y of shape (rows,).

        Raises
        ------
        ValueError: there are not two classes, no row to fit on, or a parameter is out of range.
        """
        self._check_parameters()
        rows, target = np.asarray(X, dtype=np.float64), np.asarray(y)
        self.classes_ = self._classes(target)
        self.positive_at_ = self._positive_position()
        chosen = rows[target != self.classes_[self.positive_at_]] if self.fit_on == "normal" else rows
        if not len(chosen):
            raise ValueError("no row is normal, and fit_on: normal needs some")
        detector = IsolationForest(random_state=self.random_state) if self.detector is None else clone(self.detector)
        self.detector_ = detector.fit(chosen)
        self.n_features_in_ = rows.shape[1]
        self._fit_scale(self._scores(chosen))
        return self

    def decision_function(self, X: Any) -> Floats:  # noqa: N803
        """Return the anomaly score minus the threshold, above 0 for anomalies; shape (rows,)."""
        check_is_fitted(self)
        return np.asarray(self._scores(np.asarray(X, dtype=np.float64)) - self.threshold_)

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """Return the scaled score of each class; shape (rows, 2), rows sum to 1."""
        excess = self.decision_function(X)
        below = np.interp(excess + self.threshold_, self.points_, self.ranks_)
        anomalous = np.where(excess > 0, 1 - 0.5 / (1 + np.maximum(excess, 0) / self.scale_), below)
        both = np.stack([1 - anomalous, anomalous], axis=1)
        return both if self.positive_at_ == 1 else both[:, ::-1]

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Return the positive class above the threshold, else the other; shape (rows,)."""
        anomalous = self.decision_function(X) > 0
        return np.asarray(self.classes_[np.where(anomalous, self.positive_at_, 1 - self.positive_at_)])

    def _check_parameters(self) -> None:
        if self.fit_on not in ("all", "normal"):
            raise ValueError(f"fit_on: got {self.fit_on!r}, expected all or normal")
        if self.share is not None and not 0 <= self.share <= 0.5:
            raise ValueError(f"share: got {self.share!r}, expected a share from 0 to 0.5")

    def _classes(self, target: npt.NDArray[Any]) -> npt.NDArray[Any]:
        seen = np.unique(target)
        kind = object if seen.dtype.kind == "U" else seen.dtype
        known = seen if self.labels is None else np.array(sorted(self.labels), dtype=kind)
        if len(known) != 2 or not np.isin(seen, known).all():
            raise ValueError(f"an anomaly is one of two classes, and there are {seen.tolist()}")
        return known

    def _positive_position(self) -> int:
        classes = self.classes_.tolist()
        if self.positive is not None and self.positive not in classes:
            raise ValueError(f"positive: {self.positive!r} is none of {classes}")
        return 1 if self.positive is None else int(classes.index(self.positive))

    def _scores(self, rows: Floats) -> Floats:
        return -np.asarray(self.detector_.score_samples(rows), dtype=np.float64)

    def _fit_scale(self, scores: Floats) -> None:
        """Set the threshold, and what the probabilities need of the training scores."""
        if self.share is None:
            self.threshold_ = -float(np.ravel(self.detector_.offset_)[0])
        else:
            self.threshold_ = float(np.quantile(scores, 1 - self.share))
        below, above = scores[scores <= self.threshold_], scores[scores > self.threshold_]
        self.points_ = np.quantile(below, np.linspace(0, 1, _POINTS)) if len(below) else np.array([self.threshold_])
        # The last point moves to the threshold, so both parts of the scale are 0.5 there.
        self.points_[-1] = self.threshold_
        self.ranks_ = np.linspace(0, 0.5, len(self.points_)) if len(below) else np.array([0.5])
        excess = float(np.mean(above - self.threshold_)) if len(above) else float(np.std(scores))
        self.scale_ = excess if excess > 0 else 1.0
