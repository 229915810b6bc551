"""The transformer in front of the estimator: rows become numbers, in one module for each kind of row.

Each kind is a function ``fit(config, schema, rows, seed)`` that sees the training rows and nothing else. To add one,
write the module, its config model, and a line in ``_FITTERS``.
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
    """Fit the embedder on the training rows, and on nothing else.

    Parameters
    ----------
    config: the ``embed`` section.
    schema: what the feature columns hold.
    rows: training rows, shape (rows, >= features); batches are for ``kind: tabular`` alone.
    seed: for a randomised reducer.

    Raises
    ------
    ConfigError: the columns are not those that this kind of embedder takes, or do not allow ``n_components``.
    """
    fit: _Fitter = batches.fit if isinstance(rows, TrainingBatches) else _FITTERS[config.kind]
    return fit(config, schema, rows, seed)


def embed(embedder: Pipeline, rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The embedded features of some rows: ``PCA_1 … PCA_n``, or ``FEATURE_1 …`` where PCA is not the last step.

    Parameters
    ----------
    embedder: a fitted embedder.
    rows: shape (rows, >= features).
    schema: the features that the embedder was fitted on.

    Returns
    -------
    float64 frame, shape (rows, components).
    """
    values: npt.NDArray[np.float64] = np.asarray(embedder.transform(schema.select(rows)), dtype=np.float64)
    prefix = "PCA" if "reduce" in embedder.named_steps else "FEATURE"
    return pd.DataFrame(values, columns=[f"{prefix}_{i}" for i in range(1, values.shape[1] + 1)])
