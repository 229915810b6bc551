"""Embed rows of a series: lags and other numbers, categories, and the calendar features of the time."""

from __future__ import annotations

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from ratchet.config import SeriesEmbed
from ratchet.data.schema import Schema
from ratchet.errors import ConfigError
from ratchet.model.embedding.calendar import CalendarFeatures
from ratchet.model.embedding.columns import names_of, parts, refuse


def fit(config: SeriesEmbed, schema: Schema, rows: pd.DataFrame, seed: int) -> Pipeline:
    """Fit on the training rows; a time is used for its cycles only, never as a number.

    Raises
    ------
    ConfigError: a column holds texts, or no column is a time.
    """
    refuse(schema, "series", ("text",))
    times = names_of(schema, "time")
    if not times:
        raise ConfigError("embed.kind: series needs a column of type time: set dataset.time")
    calendar = [("calendar", CalendarFeatures(config.calendar), times)] if config.calendar else []
    encoder = ColumnTransformer([*parts(schema, config.scaler), *calendar])
    return Pipeline([("encode", encoder.fit(schema.select(rows)))])
