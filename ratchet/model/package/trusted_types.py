"""The types that a model file may hold beyond skops's own list.

The list is defined here and never read from the file, so a file cannot extend it. A type belongs on the list if
creating it from untrusted state can run no code: compiled scikit-learn internals, and containers of fitted numbers.
"""

from __future__ import annotations

from typing import Any

from ratchet.model.package.former_names import FORMER_NAMES, register_former_names

# Ratchet's own types, whose state is set attribute by attribute.
_OWN_TYPES = (
    "ratchet.model.embedding.calendar.CalendarFeatures",
    "ratchet.model.estimators.cost_threshold.CostThresholdClassifier",
    "ratchet.model.estimators.matrix_factorization.MatrixFactorization",
    "ratchet.model.estimators.outliers.OutlierClassifier",
)
_FORMER_TYPES = tuple(
    own.replace(current, former) for former, current in FORMER_NAMES.items() for own in _OWN_TYPES if current in own
)
TRUSTED_TYPES: tuple[str, ...] = (
    "numpy.dtype",
    *_OWN_TYPES,
    *_FORMER_TYPES,
    "sklearn._loss._loss.CyAbsoluteError",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss._loss.CyHalfSquaredError",
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.loss.AbsoluteError",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)


def load_skops(content: bytes) -> Any:
    """Load a skops file.

    Raises
    ------
    skops.io.exceptions.UntrustedTypesFoundException: the file holds a type that the list lacks.
    """
    import skops.io

    register_former_names()
    return skops.io.loads(content, trusted=list(TRUSTED_TYPES))
