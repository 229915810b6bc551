"""Estimators of our own, under scikit-learn's contract: what its own do not answer."""

from ratchet.model.estimators.cost_threshold import CostThresholdClassifier
from ratchet.model.estimators.matrix_factorization import MatrixFactorization
from ratchet.model.estimators.outliers import OutlierClassifier

__all__ = ["CostThresholdClassifier", "MatrixFactorization", "OutlierClassifier"]
