"""Embed ratings: users and items as the codes that a matrix factorisation takes."""

from __future__ import annotations

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from ratchet.config import RatingsEmbed
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError
from ratchet.model.embedding.columns import field_of

UNKNOWN = -1


def fit(config: RatingsEmbed, schema: Schema, rows: pd.DataFrame, seed: int) -> Pipeline:
    """Fit on the training rows; the output has two columns, the code of the user and that of the item.

    Raises
    ------
    ConfigError: there is no such column, or both are the same.
    """
    columns = {"user": config.user, "item": config.item}
    for key, name in columns.items():
        field_of(schema, name, f"embed.{key}")
    if config.user == config.item:
        raise ConfigError(f"embed.item: {config.item!r} is the user already")
    code = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNKNOWN, encoded_missing_value=UNKNOWN)
    encoder = ColumnTransformer([(key, code, [name]) for key, name in columns.items()])
    return Pipeline([("encode", encoder.fit(schema.select(rows)))])
