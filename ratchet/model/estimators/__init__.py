"""Ratchet's estimators: tasks that scikit-learn's estimators do not cover, with its interface."""

from ratchet.model.estimators.cost_threshold import CostThresholdSearch
from ratchet.model.estimators.matrix_factorization import MatrixFactorization
from ratchet.model.estimators.outliers import OutlierClassifier

__all__ = ["CostThresholdSearch", "MatrixFactorization", "OutlierClassifier"]
