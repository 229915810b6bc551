"""Rows of pixels: one range for all of them, then PCA."""

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

    The scale is the range that a pixel may have and not the one that was seen, so that a pixel which is dark in all of
    the training rows weighs no more than any other when it lights up.

    Raises
    ------
    ConfigError: a column is no number, or ``n_components`` is too large.
    """
    refuse(schema, "image", ("category", "text", "time"))
    features = schema.select(rows)
    filled = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True).fit(features)
    ends = np.outer([0.0, config.maximum], np.ones(len(schema.features)))
    scaled = MinMaxScaler().fit(ends)
    encoder = Pipeline([("fill", filled), ("scale", scaled)])
    return Pipeline(
        [("encode", encoder), ("reduce", fitted_pca(config.n_components, encoder.transform(features), seed))]
    )
