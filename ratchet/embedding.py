"""The transformer in front of the estimator: impute, scale, one-hot, reduce."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from ratchet.config import Embed
from ratchet.datasets.schema import Schema
from ratchet.errors import ConfigError

_SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}


def fit_embedder(config: Embed, schema: Schema, rows: pd.DataFrame, seed: int) -> Pipeline:
    """Fit the embedder on the training rows, and on nothing else.

    Numbers are imputed with their median whether or not this data set has gaps, since production may.

    Parameters
    ----------
    config: the ``embed`` section.
    schema: what the feature columns hold.
    rows: training rows, shape (rows, >= features).
    seed: for a randomised reducer.

    Raises
    ------
    ConfigError: ``n_components`` is more than the encoded features or the rows allow.
    """
    encoder = _encoder(config, schema)
    features = schema.select(rows)
    steps: list[tuple[str, Any]] = [("encode", encoder)]
    encoded = encoder.fit_transform(features)
    if config.reducer == "pca":
        steps.append(("reduce", _fitted_pca(config.n_components, encoded, seed)))
    return Pipeline(steps)


def embed(embedder: Pipeline, rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The embedded features of some rows: ``PCA_1 … PCA_n``, or ``FEATURE_1 …`` where nothing is reduced.

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


def _encoder(config: Embed, schema: Schema) -> Any:
    numeric: list[tuple[str, Any]] = [("impute", SimpleImputer(strategy="median", keep_empty_features=True))]
    if config.scaler != "none":
        numeric.append(("scale", _SCALERS[config.scaler]()))
    if schema.numeric:
        return Pipeline(numeric)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    by_type = {kind: [f.name for f in schema.features if f.type == kind] for kind in ("number", "category")}
    return ColumnTransformer(
        [("number", Pipeline(numeric), by_type["number"]), ("category", one_hot, by_type["category"])]
    )


def _fitted_pca(wanted: int | None, encoded: npt.NDArray[np.float64], seed: int) -> PCA:
    rows, width = encoded.shape
    most = min(rows, width)
    if wanted is not None and wanted > most:
        raise ConfigError(
            f"embed.n_components: got {wanted}, but {width} encoded features in {rows} training rows"
            f" allow at most {most}"
        )
    return PCA(n_components=wanted or most, random_state=seed).fit(encoded)
