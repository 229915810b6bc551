"""Evaluation of a model on held-out rows: metrics and the bootstrap interval of the primary one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict
from sklearn.base import is_classifier
from sklearn.metrics import confusion_matrix

from ratchet.config import Evaluate
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError, DataError
from ratchet.model import metrics
from ratchet.model.bootstrap import interval
from ratchet.model.tasks import block_length


class Evaluation(BaseModel):
    """Metrics of a model on a holdout.

    Attributes
    ----------
    metrics: every metric that the model's outputs allow.
    primary_metric: the one that the gate compares.
    low, high: bootstrap confidence interval of the primary metric.
    confusion: rows by true and predicted class, in the order of ``labels``; None for a regression.
    """

    model_config = ConfigDict(frozen=True)

    metrics: dict[str, float]
    primary_metric: str
    low: float
    high: float
    confidence: float
    n_rows: int
    labels: tuple[str | int, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None

    @property
    def primary(self) -> float:
        """The value of the primary metric."""
        return self.metrics[self.primary_metric]


def evaluate_model(model: Any, rows: pd.DataFrame, schema: Schema, config: Evaluate, seed: int) -> Evaluation:
    """Score a fitted pipeline on held-out rows, features and target; the seed is that of the bootstrap.

    Raises
    ------
    ConfigError: the primary metric needs probabilities or two classes, and the model has none.
    DataError: the metric is not defined on these rows.
    """
    scores, primary = score_rows(model, rows, schema), config.primary_metric
    if primary not in metrics.available(scores):
        needs = "predict_proba, which the estimator lacks"
        if primary in metrics.NEEDS_POSITIVE and schema.positive is None:
            needs = f"two classes, and there are {len(schema.labels or ())}"
        raise ConfigError(f"evaluate.primary_metric: {primary} needs {needs}")
    values = {name: metrics.point(name, scores) for name in metrics.available(scores)}
    if math.isnan(values[primary]):
        raise DataError(f"{primary} is not defined on this holdout of {len(scores)} rows: make it larger")
    block = block_length(schema, rows)
    low, high = interval(primary, scores, config.confidence, config.bootstrap, seed, block)
    return Evaluation(
        metrics={name: value for name, value in values.items() if not math.isnan(value)},
        primary_metric=primary,
        low=low,
        high=high,
        confidence=config.confidence,
        n_rows=len(scores),
        labels=schema.labels,
        confusion=_confusion(scores) if isinstance(scores, metrics.ClassificationScores) else None,
    )


def score_rows(model: Any, rows: pd.DataFrame, schema: Schema) -> metrics.Scores:
    """Return predictions and truth of some rows.

    Classes are positions in ``schema.labels``, so a model that was fitted without a rare class can be scored too.

    Raises
    ------
    DataError: a row has a label that the schema lacks.
    """
    features, truth = schema.select(rows), rows[schema.target].to_numpy()
    predicted = model.predict(features)
    if not is_classifier(model):
        return metrics.RegressionScores(truth.astype(float), np.asarray(predicted, dtype=float))
    labels = list(schema.labels or ())
    probabilities = None
    if hasattr(model, "predict_proba"):
        probabilities = np.zeros((len(rows), len(labels)))
        probabilities[:, _positions(model.classes_, labels)] = model.predict_proba(features)
    costs = schema.costs
    return metrics.ClassificationScores(
        _positions(truth, labels),
        _positions(predicted, labels),
        probabilities,
        len(labels),
        positive=None if schema.positive is None else labels.index(schema.positive),
        costs=(costs.false_negative, costs.false_positive) if costs else None,
    )


def _confusion(scores: metrics.ClassificationScores) -> tuple[tuple[int, ...], ...]:
    counts = confusion_matrix(scores.truth, scores.predicted, labels=range(scores.n_classes))
    return tuple(tuple(row) for row in counts.tolist())


def _positions(values: npt.NDArray[Any], labels: list[str | int]) -> npt.NDArray[np.int64]:
    index = {label: position for position, label in enumerate(labels)}
    try:
        return np.array([index[value] for value in np.asarray(values).tolist()], dtype=np.int64)
    except KeyError as error:
        raise DataError(f"the label {error.args[0]!r} is none of the model's classes: {labels}") from None
