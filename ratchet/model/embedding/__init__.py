"""The embedder, which turns rows into the numbers that the estimator takes; one module for each kind of row.

Each kind is a function ``fit(config, schema, rows, seed)`` that sees only training rows. To add one, write the module,
its config model, and a line in ``_FITTERS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from ratchet.config import AnyEmbed
from ratchet.data.schema import Schema
from ratchet.model.batches.training_batches import TrainingBatches
from ratchet.model.embedding import batches, image, ratings, series, tabular, text

__all__ = ["embed", "fit_embedder"]

_Fitter = Callable[[Any, Schema, Any, int], Pipeline]
_FITTERS: dict[str, _Fitter] = {
    "tabular": tabular.fit,
    "image": image.fit,
    "text": text.fit,
    "series": series.fit,
    "ratings": ratings.fit,
}


def fit_embedder(config: AnyEmbed, schema: Schema, rows: pd.DataFrame | TrainingBatches, seed: int) -> Pipeline:
    """Fit the embedder on the training rows only.

    Parameters
    ----------
    rows: training rows, shape (rows, >= features); batches only for ``kind: tabular``.
    seed: for a randomised reducer.

    Raises
    ------
    ConfigError: this kind of embedder cannot take the columns, or they do not allow ``n_components``.
    """
    fit: _Fitter = batches.fit if isinstance(rows, TrainingBatches) else _FITTERS[config.kind]
    return fit(config, schema, rows, seed)


def embed(embedder: Pipeline, rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the embedded features of rows of shape (rows, >= features) as float64, shape (rows, components).

    The columns are ``PCA_1 … PCA_n``, or ``FEATURE_1 …`` if PCA is not the last step.
    """
    values: npt.NDArray[np.float64] = np.asarray(embedder.transform(schema.select(rows)), dtype=np.float64)
    prefix = "PCA" if "reduce" in embedder.named_steps else "FEATURE"
    return pd.DataFrame(values, columns=[f"{prefix}_{i}" for i in range(1, values.shape[1] + 1)])
