"""The names of tasks and of their metrics."""

from __future__ import annotations

from typing import Literal

TaskName = Literal["classification", "regression", "forecasting", "anomaly_detection", "recommendation"]

_OF_ALL_CLASSES = (
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "log_loss",
    "roc_auc",
)
# Of the positive class, where there are two classes.
POSITIVE_METRICS = ("f1", "f2", "precision", "recall", "average_precision", "cost")
CLASSIFICATION_METRICS = (*_OF_ALL_CLASSES, *POSITIVE_METRICS)
REGRESSION_METRICS = ("rmse", "mae", "r2", "mape")
METRICS: dict[TaskName, tuple[str, ...]] = {
    "classification": CLASSIFICATION_METRICS,
    "anomaly_detection": CLASSIFICATION_METRICS,
    "regression": REGRESSION_METRICS,
    "forecasting": REGRESSION_METRICS,
    "recommendation": REGRESSION_METRICS,
}
LOSSES = frozenset({"log_loss", "cost", "rmse", "mae", "mape"})
# Tasks whose target is a class.
LABELLED: frozenset[TaskName] = frozenset({"classification", "anomaly_detection"})
