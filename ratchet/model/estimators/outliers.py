"""An outlier detector that answers with one of two classes, as everything behind training takes it."""

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

# Points of the training scores that are kept.
_POINTS = 512


class OutlierClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc] # not typed
    """Answers with the positive class where a detector finds a row stranger than its threshold.

    The detector sees features alone; labels name the classes, and choose the rows where ``fit_on`` asks for it. A
    probability here is a score on the scale of one, and not calibrated: half the empirical distribution of the
    training rows up to the threshold, where it is 0.5, and above it ``1 - 0.5 / (1 + excess)``, with the excess in
    units of the mean excess of the training rows. It rises with the strangeness of a row, above the threshold
    strictly, so that rankings keep their order however far out a row is.

    Parameters
    ----------
    detector: with ``score_samples`` and ``offset_``, as scikit-learn's have them; None is an IsolationForest.
    positive: the class that is the anomaly; None is the last of the sorted classes.
    labels: the two classes, for training rows that are all of one; None reads them off the training rows.
    fit_on: ``all`` training rows, or the ``normal`` ones, which are not of the positive class.
    share: the share of the rows it is fitted on that counts as anomalous, in [0, 0.5]; None leaves it to the detector.
    random_state: seed of the detector that None stands for.

    Attributes
    ----------
    classes_: the two classes, sorted.
    detector_: fitted.
    threshold_: the anomaly score from which on a row is anomalous; scores are the detector's, with the sign turned.
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
        """Fit the detector and take down how its scores are spread.

        Parameters
        ----------
        X: shape (rows, features).
        y: the labels, shape (rows,).

        Raises
        ------
        ValueError: there are not two classes, no row to fit on, or a parameter is out of range.
        """
        self._check_parameters()
        rows, truth = np.asarray(X, dtype=np.float64), np.asarray(y)
        self.classes_ = self._classes(truth)
        self.positive_at_ = self._positive_at()
        chosen = rows[truth != self.classes_[self.positive_at_]] if self.fit_on == "normal" else rows
        if not len(chosen):
            raise ValueError("no row is normal, and fit_on: normal needs some")
        detector = IsolationForest(random_state=self.random_state) if self.detector is None else clone(self.detector)
        self.detector_ = detector.fit(chosen)
        self.n_features_in_ = rows.shape[1]
        self._take_down(self._strangeness(chosen))
        return self

    def decision_function(self, X: Any) -> Floats:  # noqa: N803
        """How far beyond the threshold each row is, above 0 for the anomalous ones; shape (rows,)."""
        check_is_fitted(self)
        return np.asarray(self._strangeness(np.asarray(X, dtype=np.float64)) - self.threshold_)

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """The score of each class, as the class says above; shape (rows, 2), rows add up to 1."""
        beyond = self.decision_function(X)
        below = np.interp(beyond + self.threshold_, self.points_, self.ranks_)
        anomalous = np.where(beyond > 0, 1 - 0.5 / (1 + np.maximum(beyond, 0) / self.scale_), below)
        both = np.stack([1 - anomalous, anomalous], axis=1)
        return both if self.positive_at_ == 1 else both[:, ::-1]

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """The positive class beyond the threshold, else the other; shape (rows,)."""
        anomalous = self.decision_function(X) > 0
        return np.asarray(self.classes_[np.where(anomalous, self.positive_at_, 1 - self.positive_at_)])

    def _check_parameters(self) -> None:
        if self.fit_on not in ("all", "normal"):
            raise ValueError(f"fit_on: got {self.fit_on!r}, expected all or normal")
        if self.share is not None and not 0 <= self.share <= 0.5:
            raise ValueError(f"share: got {self.share!r}, expected a share from 0 to 0.5")

    def _classes(self, truth: npt.NDArray[Any]) -> npt.NDArray[Any]:
        seen = np.unique(truth)
        kind = object if seen.dtype.kind == "U" else seen.dtype
        known = seen if self.labels is None else np.array(sorted(self.labels), dtype=kind)
        if len(known) != 2 or not np.isin(seen, known).all():
            raise ValueError(f"an anomaly is one of two classes, and there are {seen.tolist()}")
        return known

    def _positive_at(self) -> int:
        if self.positive is None:
            return 1
        if self.positive not in self.classes_.tolist():
            raise ValueError(f"positive: {self.positive!r} is none of {self.classes_.tolist()}")
        return int(self.classes_.tolist().index(self.positive))

    def _strangeness(self, rows: Floats) -> Floats:
        return -np.asarray(self.detector_.score_samples(rows), dtype=np.float64)

    def _take_down(self, scores: Floats) -> None:
        """Keep the threshold, and of the training scores what the probabilities need."""
        if self.share is None:
            self.threshold_ = -float(np.ravel(self.detector_.offset_)[0])
        else:
            self.threshold_ = float(np.quantile(scores, 1 - self.share))
        below, above = np.sort(scores[scores <= self.threshold_]), scores[scores > self.threshold_]
        self.points_ = np.quantile(below, np.linspace(0, 1, _POINTS)) if len(below) else np.array([self.threshold_])
        # Its last point is moved up to the threshold, so that the two parts meet.
        self.points_[-1] = self.threshold_
        self.ranks_ = np.linspace(0, 0.5, len(self.points_)) if len(below) else np.array([0.5])
        excess = float(np.mean(above - self.threshold_)) if len(above) else float(np.std(scores))
        self.scale_ = excess if excess > 0 else 1.0
