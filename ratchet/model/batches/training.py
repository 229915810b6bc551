"""An estimator fitted further and further, on one batch of training rows after the other."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from ratchet.config import Split
from ratchet.data.batches.draws import held_out
from ratchet.data.batches.reader import BatchedFile, concatenated
from ratchet.data.schema import Schema
from ratchet.data.split import row_hashes
from ratchet.errors import ConfigError, TrainingError, one_line
from ratchet.model.embedding import embed


@dataclass(frozen=True)
class Fitted:
    """A model, and the rows that it knows.

    Attributes
    ----------
    model: embedder and estimator in one.
    training_rows: the hash of every row that it was fitted on, shape (rows,); 8 bytes a row.
    """

    model: Pipeline
    training_rows: npt.NDArray[np.uint64]


def require_partial_fit(estimator: BaseEstimator, name: str) -> None:
    """Refuse an estimator that needs all rows at once.

    Parameters
    ----------
    estimator: unfitted.
    name: its dotted path, for the message.

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
    estimator: BaseEstimator,
    embedder: Pipeline,
    schema: Schema,
    file: BatchedFile,
    split: Split,
    seed: int,
    epochs: int = 1,
) -> Fitted:
    """Fit an estimator with ``partial_fit`` on the training part of a file, in the order of the file.

    Parameters
    ----------
    estimator: unfitted, with ``partial_fit``.
    embedder: fitted on the same training part.
    schema: the features, and the classes, which the first batch need not have.
    file: the file; it sets the size of a batch, which only the last one of an epoch falls short of.
    split, seed: which rows are held out, as for ``ingest``.
    epochs: how often each row is seen.

    Raises
    ------
    TrainingError: the estimator refuses its hyper-parameters or the data.
    DataError: the file cannot be read.
    """
    known = _classes(estimator, schema)
    hashes: list[npt.NDArray[np.uint64]] = []
    for epoch in range(epochs):
        for features, target in _batches(embedder, schema, file, split, seed, hashes if epoch == 0 else []):
            try:
                estimator.partial_fit(features, target, **known)
            except (ValueError, TypeError) as error:
                name = type(estimator).__name__
                raise TrainingError(f"{name} could not be fitted: {one_line(error)}") from None
    return Fitted(Pipeline([("embed", embedder), ("model", estimator)]), concatenated(hashes, np.uint64))


def _classes(estimator: Any, schema: Schema) -> dict[str, Any]:
    """All classes for the first call, where the estimator asks for them."""
    if schema.labels is None or "classes" not in inspect.signature(estimator.partial_fit).parameters:
        return {}
    text = any(isinstance(label, str) for label in schema.labels)
    return {"classes": np.array(schema.labels, dtype=object if text else np.int64)}


def _batches(
    embedder: Pipeline,
    schema: Schema,
    file: BatchedFile,
    split: Split,
    seed: int,
    hashes: list[npt.NDArray[np.uint64]],
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[Any]]]:
    """Embedded features and targets of the training rows, ``batch_rows`` at a time.

    One array holds a batch and is filled again for the next; the hashes of the rows are added to the list.
    """
    features: npt.NDArray[np.float64] | None = None
    target: npt.NDArray[Any] = np.empty(0)
    filled = 0
    for rows in file.parts(_width(schema)):
        train = rows[~held_out(rows, split.test_size, seed)]
        if not len(train):
            continue
        hashes.append(row_hashes(train))
        values, truth = embed(embedder, train, schema).to_numpy(), train[schema.target].to_numpy()
        if features is None:
            features = np.empty((file.batch_rows, values.shape[1]))
            target = np.empty(file.batch_rows, dtype=truth.dtype)
        while len(values):
            count = min(len(values), file.batch_rows - filled)
            features[filled : filled + count], target[filled : filled + count] = values[:count], truth[:count]
            values, truth, filled = values[count:], truth[count:], filled + count
            if filled == file.batch_rows:
                yield features, target
                filled = 0
    if features is not None and filled:
        yield features[:filled], target[:filled]


def _width(schema: Schema) -> int:
    """How many columns a row has where it has most of them: numbers, and one for each category."""
    return sum(1 if field.categories is None else len(field.categories) + 1 for field in schema.features)
