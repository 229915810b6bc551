"""Embed rows of pixels: one scale for all pixels, then PCA."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from ratchet.config import ImageEmbed
from ratchet.data.schema import Schema
from ratchet.model.embedding.columns import refuse
from ratchet.model.embedding.tabular import fitted_pca


def fit(config: ImageEmbed, schema: Schema, rows: pd.DataFrame, seed: int) -> Pipeline:
    """Fit on the training rows; a missing pixel is dark.

    The scale is the configured range of a pixel and not the observed one, so a pixel that is dark in all training rows
    has the same weight as any other.

    Raises
    ------
    ConfigError: a column is not a number, or ``n_components`` is too large.
    """
    refuse(schema, "image", ("category", "text", "time"))
    features = schema.select(rows)
    fill = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True).fit(features)
    scale = MinMaxScaler().fit(np.outer([0.0, config.maximum], np.ones(len(schema.features))))
    encoder = Pipeline([("fill", fill), ("scale", scale)])
    reduce = fitted_pca(config.n_components, encoder.transform(features), seed)
    return Pipeline([("encode", encoder), ("reduce", reduce)])
