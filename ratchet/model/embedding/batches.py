"""Fit the tabular embedder on training rows that are read in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ratchet.config import Embed
from ratchet.data.schema import Schema
from ratchet.model.batches.training_batches import TrainingBatches
from ratchet.model.embedding.columns import SCALERS, encoder_of, names_of, require_components

Floats = npt.NDArray[np.float64]


def fit(config: Embed, schema: Schema, batches: TrainingBatches, seed: int) -> Pipeline:
    """Fit the embedder in two passes: imputer and categories first, then scaler and PCA.

    Scaler, categories and components are exactly those of a fit on all rows at once. Missing numbers are replaced by
    the mean, since a median does not follow from sums over batches.

    Parameters
    ----------
    config: the ``embed`` section, without ``scaler: robust``.
    schema: columns of the file, as ``ingest`` found them.

    Raises
    ------
    ConfigError: ``n_components`` is more than the encoded features allow.
    DataError: the file cannot be read.
    """
    encoder = encoder_of(schema, "none").fit(_representative_rows(schema, batches))
    count, reduced = len(names_of(schema, "number")), config.reducer == "pca"
    scaler = None if config.scaler == "none" or not count else SCALERS[config.scaler]()
    moments = _Moments()
    for rows in batches.frames(schema) if scaler is not None or reduced else ():
        encoded = encoder.transform(schema.select(rows))
        if scaler is not None:
            scaler.partial_fit(encoded[:, :count])
        if reduced:
            moments.add(encoded)
    if count:
        number = encoder if schema.numeric else encoder.named_transformers_["number"]
        number.named_steps["impute"].set_params(strategy="mean")
        number.steps += [("scale", scaler)] if scaler is not None else []
    steps: list[tuple[str, Any]] = [("encode", encoder)]
    if reduced:
        steps.append(("reduce", _pca(config.n_components, *moments.scaled(scaler), moments.n_rows, seed)))
    return Pipeline(steps)


def _representative_rows(schema: Schema, batches: TrainingBatches) -> pd.DataFrame:
    """Return a few rows on which the encoder learns the mean of each number and all categories of the training rows."""
    numeric, categorical = names_of(schema, "number"), names_of(schema, "category")
    sums, counts = pd.Series(0.0, index=numeric), pd.Series(0, index=numeric)
    seen: dict[str, set[str]] = {name: set() for name in categorical}
    for rows in batches.frames(schema):
        features = schema.select(rows)
        sums, counts = sums + features[numeric].sum(), counts + features[numeric].count()
        for name, values in seen.items():
            values.update(features[name].unique())
    length = max(map(len, seen.values()), default=1)
    means = sums / counts
    columns: dict[str, Any] = {name: np.full(length, means[name]) for name in numeric}
    columns |= {name: np.resize(np.array(sorted(values), dtype=object), length) for name, values in seen.items()}
    return schema.select(pd.DataFrame(columns))


class _Moments:
    """Mean and covariance of rows that are added in batches, shapes (width,) and (width, width).

    Sums are of differences from the mean of the first batch, which keeps the digits of a column far from zero.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        self._origin, self._sum, self._products = np.empty(0), np.zeros(()), np.zeros(())

    def add(self, rows: Floats) -> None:
        if not self.n_rows:
            self._origin = rows.mean(axis=0)
        differences = rows - self._origin
        self._sum = self._sum + differences.sum(axis=0)
        self._products = self._products + differences.T @ differences
        self.n_rows += len(rows)

    def scaled(self, scaler: Any) -> tuple[Floats, Floats]:
        """Return mean and covariance (divided by the rows) after the first columns went through a fitted scaler."""
        shift = self._sum / self.n_rows
        mean, factors = self._origin + shift, np.ones(len(shift))
        covariance = self._products / self.n_rows - np.outer(shift, shift)
        if scaler is not None:
            count = scaler.n_features_in_
            mean[:count] = scaler.transform(mean[None, :count])[0]
            factors[:count] = 1 / scaler.scale_ if isinstance(scaler, StandardScaler) else scaler.scale_
        return mean, covariance * np.outer(factors, factors)


def _pca(wanted: int | None, mean: Floats, covariance: Floats, n_rows: int, seed: int) -> PCA:
    """Fit PCA on a few rows that have the mean and the covariance of all rows.

    With the covariance C = V diag(w) V', the 2k rows mean ± sqrt(k w_i) V_i have this mean and covariance. PCA divides
    by one row less than there are, so the rows are stretched to give its variances for n_rows rows.
    """
    width = len(mean)
    components = require_components(wanted, n_rows, width)
    values, vectors = np.linalg.eigh(covariance)
    stretch = np.sqrt(width * n_rows / (n_rows - 1) * (2 * width - 1) / (2 * width))
    spread = stretch * np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    rows = np.concatenate([mean + spread, mean - spread])
    return PCA(n_components=components, svd_solver="full", random_state=seed).fit(rows)
