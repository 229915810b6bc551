"""Embed texts: TF-IDF of each text column, reduced by a truncated SVD (latent semantic analysis).

S. Deerwester and others, "Indexing by latent semantic analysis", 1990. Numbers and categories are added as for a table.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline

from ratchet.config import TextEmbed
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError
from ratchet.model.embedding.columns import field_of, names_of, parts, require_components

# The usual number for latent semantic analysis (Deerwester and others, 1990).
USUAL_COMPONENTS = 100


def fit(config: TextEmbed, schema: Schema, rows: pd.DataFrame, seed: int) -> Pipeline:
    """Fit vocabulary, weights and components on the training rows.

    Raises
    ------
    ConfigError: a named column is not of type text, no column is, no term has ``min_df``, or ``n_components`` is too
        large.
    """
    columns = _columns(config, schema)
    features = schema.select(rows)
    # The vectorizer takes a single column, which a ColumnTransformer passes for a name and not for a list. The parts
    # are numbered, since scikit-learn refuses names with two underscores.
    texts: list[Any] = [
        (f"text_{number}", _text_encoder(config, features[name], seed), name) for number, name in enumerate(columns)
    ]
    encoder = ColumnTransformer(texts + parts(schema, config.scaler))
    return Pipeline([("encode", encoder.fit(features))])


def _columns(config: TextEmbed, schema: Schema) -> list[str]:
    for name in config.columns:
        if (kind := field_of(schema, name, "embed.columns").type) != "text":
            raise ConfigError(
                f"embed.columns: {name!r} is of type {kind}: declare dataset.columns.{name} as type: text"
            )
    texts = names_of(schema, "text")
    if not texts:
        raise ConfigError("embed.kind: text needs a column of type text: declare it in dataset.columns")
    return list(config.columns) or texts


def _text_encoder(config: TextEmbed, texts: pd.Series[Any], seed: int) -> Pipeline:
    """Return the unfitted encoder of a column, with as many components as its training texts allow."""
    words = TfidfVectorizer(
        ngram_range=config.ngrams,
        min_df=config.min_df,
        max_features=config.max_features,
        sublinear_tf=config.sublinear,
    )
    try:
        terms = words.fit_transform(texts).shape[1]
    except ValueError:
        raise ConfigError(
            f"embed.min_df: no term of column {texts.name!r} is in {config.min_df} of {len(texts)} training rows:"
            " lower it"
        ) from None
    size = require_components(config.n_components, len(texts), terms, "terms")
    if config.n_components is None:
        size = min(size, USUAL_COMPONENTS)
    return Pipeline([("words", words), ("reduce", TruncatedSVD(size, random_state=seed))])
