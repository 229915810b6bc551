"""Fit an estimator with ``partial_fit`` on batches of training rows."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from ratchet.data.row_identities import RowIdentities, data_source, identify
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError, TrainingError, one_line
from ratchet.model.batches.training_batches import TrainingBatches
from ratchet.model.embedding import embed


def require_partial_fit(estimator: BaseEstimator, name: str) -> None:
    """Refuse an estimator that needs all rows at once; the message has its dotted path.

    Raises
    ------
    ConfigError: it has no ``partial_fit``.
    """
    if not hasattr(estimator, "partial_fit"):
        raise ConfigError(
            f"dataset.batch_rows: {name} has no partial_fit with these parameters, and needs all rows at once;"
            " choose an estimator that has, such as sklearn.linear_model.SGDClassifier, or leave batch_rows out"
        )


def fit_model(
    estimator: BaseEstimator, embedder: Pipeline, schema: Schema, batches: TrainingBatches, epochs: int = 1
) -> tuple[Pipeline, RowIdentities]:
    """Fit an estimator on the training rows of a file, in the order of the file.

    Parameters
    ----------
    estimator: unfitted, with ``partial_fit``.
    embedder: fitted on the same rows.
    schema: features and classes; the first batch may lack a class.
    batches: the training rows; each call of ``partial_fit`` gets ``batch_rows`` of them, the last of an epoch fewer.
    epochs: number of times that each row is used.

    Returns
    -------
    Embedder and estimator in one pipeline, and the identities of the training rows, shape (rows,).

    Raises
    ------
    TrainingError: the estimator refuses its hyper-parameters or the data.
    DataError: the file cannot be read.
    """
    classes = _classes(estimator, schema)
    read: list[RowIdentities] = []
    for epoch in range(epochs):
        for features, target in _full_batches(embedder, schema, batches, read if epoch == 0 else []):
            try:
                estimator.partial_fit(features, target, **classes)
            except (ValueError, TypeError) as error:
                raise TrainingError(f"{type(estimator).__name__} could not be fitted: {one_line(error)}") from None
    return Pipeline([("embed", embedder), ("model", estimator)]), _joined(read)


def _joined(parts: list[RowIdentities]) -> RowIdentities:
    ids, contents = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "contents"))
    return RowIdentities(parts[0].source, ids, contents, len(ids))


def _classes(estimator: Any, schema: Schema) -> dict[str, Any]:
    """Return all classes as the argument of ``partial_fit``, if it takes one."""
    if schema.labels is None or "classes" not in inspect.signature(estimator.partial_fit).parameters:
        return {}
    text = any(isinstance(label, str) for label in schema.labels)
    return {"classes": np.array(schema.labels, dtype=object if text else np.int64)}


def _full_batches(
    embedder: Pipeline, schema: Schema, batches: TrainingBatches, read: list[RowIdentities]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[Any]]]:
    """Yield embedded features and targets, ``batch_rows`` at once, and append the identities of the rows to the list.

    The arrays are reused: they hold one batch, and the next one overwrites it.
    """
    size, filled = batches.file.batch_rows, 0
    features: npt.NDArray[np.float64] = np.empty((0, 0))
    target: npt.NDArray[Any] = np.empty(0)
    source = data_source(batches.dataset, batches.file.version)
    for rows in batches.frames(schema):
        read.append(identify(rows, schema.target, source, rows.index))
        values, truth = embed(embedder, rows, schema).to_numpy(), rows[schema.target].to_numpy()
        if not len(features):
            features, target = np.empty((size, values.shape[1])), np.empty(size, dtype=truth.dtype)
        while len(values):
            count = min(len(values), size - filled)
            features[filled : filled + count], target[filled : filled + count] = values[:count], truth[:count]
            values, truth, filled = values[count:], truth[count:], filled + count
            if filled == size:
                yield features, target
                filled = 0
    if filled:
        yield features[:filled], target[:filled]
