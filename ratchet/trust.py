"""The types that a model file of ours may hold.

skops asks whoever loads a file which types to trust beyond its own list. The answer has to come from here and
never from the file, or a file could vouch for itself. A type belongs on this list when building one from
untrusted state can run no code: compiled scikit-learn internals, and plain containers of fitted numbers.
"""

from __future__ import annotations

TRUSTED_TYPES: tuple[str, ...] = (
    "numpy.dtype",
    # Our own: their state is set by scikit-learn's BaseEstimator, attribute by attribute.
    "ratchet.embedding.calendar.CalendarFeatures",
    "ratchet.estimators.cost_threshold.CostThresholdClassifier",
    "ratchet.estimators.matrix_factorization.MatrixFactorization",
    "ratchet.estimators.outliers.OutlierClassifier",
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
