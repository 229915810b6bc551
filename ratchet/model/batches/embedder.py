"""The tabular embedder, fitted on all training rows of a file in one pass.

What it has learned is exact: an imputer's mean, a scaler's mean, spread or range, an encoder's categories and PCA's
components all follow from the moments of the columns, and those add up. Only the median does not, so gaps are filled
with the mean here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from ratchet.config import Embed, Split
from ratchet.data.batches.draws import held_out
from ratchet.data.batches.reader import BatchedFile
from ratchet.data.schema import MISSING, Field, Schema
from ratchet.model.batches.moments import Matrix, Moments
from ratchet.model.embedding.columns import numbers, parts, require_components

_EPSILON = float(np.finfo(np.float64).eps)


def fit_embedder(config: Embed, schema: Schema, file: BatchedFile, split: Split, seed: int) -> Pipeline:
    """Fit the embedder on the training part of a file, and on nothing else.

    Parameters
    ----------
    config: the ``embed`` section.
    schema: what the feature columns hold, as ``ingest`` told.
    file: the file.
    split, seed: which rows are held out, as for ``ingest``.

    Returns
    -------
    What ``ratchet.model.embedding.fit_embedder`` returns: the same steps of scikit-learn, fitted.

    Raises
    ------
    ConfigError: ``n_components`` is more than the encoded features allow.
    DataError: the file cannot be read.
    """
    columns = _Columns(schema, together=config.reducer == "pca")
    for rows in file.parts(columns.width):
        columns.add(schema.select(rows[~held_out(rows, split.test_size, seed)]))
    encoder = numbers(config.scaler) if schema.numeric else ColumnTransformer(parts(schema, config.scaler))
    stand_in = columns.stand_in()
    encoder.fit(stand_in)
    if columns.numbers:
        number = encoder if schema.numeric else encoder.named_transformers_["number"]
        _learn(number, columns.moments, len(columns.numbers))
    steps: list[tuple[str, Any]] = [("encode", encoder)]
    if config.reducer == "pca":
        width = encoder.transform(stand_in).shape[1]
        components = require_components(config.n_components, columns.moments.n_rows, width)
        steps.append(("reduce", _pca(components, *columns.encoded(encoder), columns.moments.n_rows, seed)))
    return Pipeline(steps)


class _Columns:
    """The columns that the encoder makes, before they are scaled: numbers, then one for each category.

    The categories' own columns are only looked at where their covariance is wanted.
    """

    def __init__(self, schema: Schema, *, together: bool) -> None:
        self._schema = schema
        self._together = together
        self.numbers = [field.name for field in schema.features if field.type == "number"]
        self._known = {field.name: _categories(field) for field in schema.features if field.type == "category"}
        self._counts = {name: np.zeros(len(known), dtype=np.int64) for name, known in self._known.items()}
        one_hot = sum(map(len, self._known.values())) if together else 0
        self.width = len(self.numbers) + one_hot
        self.moments = Moments(self.width, together=together)

    def add(self, rows: pd.DataFrame) -> None:
        """Look at some training rows, features as the model takes them."""
        values = np.zeros((len(rows), self.width))
        for at, name in enumerate(self.numbers):
            values[:, at] = rows[name].to_numpy()
        first = len(self.numbers)
        for name, known in self._known.items():
            codes = pd.Categorical(rows[name].to_numpy(), categories=known).codes.astype(np.int64)
            self._counts[name] += np.bincount(codes, minlength=len(known))
            if self._together:
                values[np.arange(len(rows)), first + codes] = 1.0
                first += len(known)
        self.moments.add(values)

    def stand_in(self) -> pd.DataFrame:
        """A few rows with the ends of every number, and every category that a training row has."""
        met = {name: [known[i] for i in np.flatnonzero(self._counts[name])] for name, known in self._known.items()}
        ends = np.column_stack([self.moments.minima, self.moments.maxima])
        ends[~np.isfinite(ends).all(axis=1)] = 0.0
        n_rows = max([2, *map(len, met.values())])
        columns: dict[str, Any] = {name: np.resize(ends[at], n_rows) for at, name in enumerate(self.numbers)}
        columns |= {name: np.resize(np.array(values, dtype=object), n_rows) for name, values in met.items()}
        return self._schema.select(pd.DataFrame(columns))

    def encoded(self, encoder: Any) -> tuple[Matrix, Matrix]:
        """The mean and the covariance of what a fitted encoder makes of the training rows."""
        count = len(self.numbers)
        met = [counts > 0 for counts in self._counts.values()]
        kept = np.concatenate([np.ones(count, dtype=bool), *met])
        shift, scale = np.zeros(len(kept)), np.ones(len(kept))
        number = (encoder if self._schema.numeric else encoder.named_transformers_.get("number")) if count else None
        scaler = number.named_steps.get("scale") if number is not None else None
        if isinstance(scaler, StandardScaler):
            shift[:count], scale[:count] = scaler.mean_, 1 / np.asarray(scaler.scale_)
        elif isinstance(scaler, MinMaxScaler):
            scale[:count] = scaler.scale_
            shift[:count] = -scaler.min_ / scaler.scale_
        mean = (self.moments.means - shift) * scale
        covariance = self.moments.covariance * np.outer(scale, scale)
        return mean[kept], covariance[np.ix_(kept, kept)]


def _categories(field: Field) -> list[str]:
    """All values that a column may have; a missing one is the empty text, which comes first as sorted text does."""
    known = list(field.categories or ())
    return [MISSING, *known] if field.nullable and MISSING not in known else known


def _learn(number: Pipeline, moments: Moments, count: int) -> None:
    """Give an imputer and a scaler what they would have learned from all rows.

    A range is known to ``MinMaxScaler`` from the stand-in already: its rows have both ends of it.
    """
    means, covariance = moments.means[:count], moments.covariance
    variances = np.maximum(np.diag(covariance) if covariance.ndim == 2 else covariance, 0.0)[:count]
    imputer, scaler = number.named_steps["impute"], number.named_steps.get("scale")
    imputer.set_params(strategy="mean")
    imputer.statistics_ = means
    if isinstance(scaler, StandardScaler):
        scaler.mean_, scaler.var_, scaler.n_samples_seen_ = means, variances, moments.n_rows
        scaler.scale_ = np.where(_constant(means, variances, moments.n_rows), 1.0, np.sqrt(variances))


def _constant(means: Matrix, variances: Matrix, n_rows: int) -> Any:
    """Which columns have one value only, rounding aside: the bound that scikit-learn's StandardScaler takes."""
    return variances <= n_rows * _EPSILON * variances + (n_rows * means * _EPSILON) ** 2


def _pca(components: int, mean: Matrix, covariance: Matrix, n_rows: int, seed: int) -> PCA:
    """PCA of all rows, fitted on a few that have their mean and their covariance.

    With the covariance C = V diag(w) V', the 2k rows mean ± sqrt(k w_i) V_i have just this mean and covariance. PCA
    divides by one row less than there are; the rows are stretched so that its variances are those of all rows.
    """
    width = len(mean)
    values, vectors = np.linalg.eigh(covariance)
    stretch = np.sqrt(width * n_rows / (n_rows - 1) * (2 * width - 1) / (2 * width))
    spread = stretch * np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    rows = np.concatenate([mean + spread, mean - spread])
    return PCA(n_components=components, svd_solver="covariance_eigh", random_state=seed).fit(rows)
