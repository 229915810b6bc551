"""Estimators of our own, under scikit-learn's contract: what its own do not answer."""

from ratchet.estimators.cost_threshold import CostThresholdClassifier
from ratchet.estimators.matrix_factorization import MatrixFactorization
from ratchet.estimators.outliers import OutlierClassifier

__all__ = ["CostThresholdClassifier", "MatrixFactorization", "OutlierClassifier"]
