"""Words to read: TF-IDF of each text column, reduced by a truncated SVD (latent semantic analysis).

S. Deerwester and others, "Indexing by latent semantic analysis", 1990. Numbers and categories stand beside it.
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

# Latent semantic analysis is usually done with 100 components (Deerwester and others, 1990).
USUAL_COMPONENTS = 100


def fit(config: TextEmbed, schema: Schema, rows: pd.DataFrame, seed: int) -> Pipeline:
    """Fit on the training rows; vocabulary, weights and components are theirs alone.

    Raises
    ------
    ConfigError: a named column is none of type text, there is no such column, no term is left by ``min_df``, or
        ``n_components`` is too large.
    """
    columns = _columns(config, schema)
    features = schema.select(rows)
    # A text is told to the vectorizer as a column of its own, by its name and not in a list.
    texts: list[Any] = [(f"text_{name}", _reader(config, features[name], seed), name) for name in columns]
    encoder = ColumnTransformer(texts + parts(schema, config.scaler))
    return Pipeline([("encode", encoder.fit(features))])


def _columns(config: TextEmbed, schema: Schema) -> list[str]:
    for name in config.columns:
        if (kind := field_of(schema, name, "embed.columns").type) != "text":
            raise ConfigError(
                f"embed.columns: {name!r} is of type {kind}: declare dataset.columns.{name} as type: text"
            )
    of_the_type = names_of(schema, "text")
    if not of_the_type:
        raise ConfigError("embed.kind: text needs a column of type text: declare it in dataset.columns")
    return list(config.columns) or of_the_type


def _reader(config: TextEmbed, texts: pd.Series[Any], seed: int) -> Pipeline:
    """An unfitted reader of one column whose number of components the training texts allow."""
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
    wanted = require_components(config.n_components, len(texts), terms, "terms")
    size = wanted if config.n_components else min(wanted, USUAL_COMPONENTS)
    return Pipeline([("words", words), ("reduce", TruncatedSVD(size, random_state=seed))])
