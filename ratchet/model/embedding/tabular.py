"""Embed rows of numbers and categories: impute, scale, one-hot, reduce."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline

from ratchet.config import Embed
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError
from ratchet.model.embedding.columns import encoder_of, names_of, refuse, require_components


def fit(config: Embed, schema: Schema, rows: pd.DataFrame, seed: int) -> Pipeline:
    """Fit on the training rows; a time orders the rows and is not a feature.

    Raises
    ------
    ConfigError: a column holds texts, the time is the only column, or ``n_components`` is too large.
    """
    refuse(schema, "tabular", ("text",))
    if len(names_of(schema, "time")) == len(schema.features):
        raise ConfigError("embed.kind: tabular has no column but a time: set embed.kind: series")
    encoder = encoder_of(schema, config.scaler)
    encoded = encoder.fit_transform(schema.select(rows))
    steps: list[tuple[str, Any]] = [("encode", encoder)]
    if config.reducer == "pca":
        steps.append(("reduce", fitted_pca(config.n_components, encoded, seed)))
    return Pipeline(steps)


def fitted_pca(wanted: int | None, encoded: npt.NDArray[np.float64], seed: int) -> PCA:
    """Return the PCA of encoded features, shape (rows, width)."""
    return PCA(n_components=require_components(wanted, *encoded.shape), random_state=seed).fit(encoded)
