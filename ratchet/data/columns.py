"""The types of a data set's columns: features, times and the target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ratchet.errors import DataError
from ratchet.nearest_names import nearest

# With more classes than this, the target is a number to predict.
MOST_CLASSES = 1000


def require_columns(known: Iterable[Any], names: Iterable[str], key: str) -> None:
    """Check that columns exist.

    Raises
    ------
    DataError: the first column that is missing, with the key of the ``dataset`` section that names it.
    """
    columns = [str(column) for column in known]
    for name in names:
        if name not in columns:
            raise DataError(f"dataset.{key}: there is no column {name!r}{nearest(name, columns)}")


def require_value(values: pd.Series[Any]) -> None:
    """Raise a ``DataError`` where every value of a feature is missing."""
    if values.isna().all():
        raise DataError(f"column {str(values.name)!r}: every value is missing; name it in dataset.drop")


def is_boolean(values: pd.Series[Any]) -> bool:
    """Whether a column has True and False, and perhaps missing values."""
    if values.dtype == object:
        return pd.api.types.infer_dtype(values, skipna=True) == "boolean"
    return pd.api.types.is_bool_dtype(values)


def as_time_text(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return times as text in ISO 8601 that sorts by time, in UTC where they have a time zone.

    Raises
    ------
    DataError: a value is not a time in ISO 8601.
    """
    codes, distinct = pd.factorize(values)  # a missing time has the code -1
    try:
        form = None if pd.api.types.is_datetime64_any_dtype(distinct) else "ISO8601"
        times = pd.to_datetime(pd.Series(distinct), format=form, utc=True)
    except (ValueError, TypeError):
        times = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
        wrong = values[times.isna() & values.notna()]
        raise DataError(
            f"column {values.name!r}: expected a time in ISO 8601, such as 2026-01-31T18:00:00,"
            f" got {wrong.iloc[0]!r} in row {row_number(wrong.index[0])}"
        ) from None
    texts = np.array([*times.map(_iso), np.nan], dtype=object)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def _iso(time: pd.Timestamp) -> str:
    return time.tz_localize(None).isoformat(timespec="microseconds" if time.microsecond else "seconds")


def as_texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return values as text in an object column; a missing value stays missing."""
    if values.dtype == object:
        return values.map(as_text, na_action="ignore").astype(object)
    codes, distinct = pd.factorize(values)  # a missing value has the code -1; equal texts are one object
    texts = np.array([*map(as_text, distinct), np.nan], dtype=object)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def as_text(value: Any) -> str:
    """Return a category as text; 1.0 is ``1``, since pandas makes integers with a gap floats."""
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def row_number(index: Any) -> int:
    """Return the number of a row below the header, from 1."""
    return int(index) + 1


def classes_of(labels: set[Any], target: str) -> tuple[str | int, ...]:
    """Return the labels of a target in order.

    Raises
    ------
    DataError: there are fewer than two, or so many that they are numbers to predict.
    """
    classes = sorted(labels)
    if len(classes) < 2:
        raise DataError(f"target {target!r}: has only one class, {classes[0]!r}; a classifier needs two at least")
    if len(classes) > MOST_CLASSES:
        raise DataError(f"target {target!r}: has {len(classes)} classes; to predict a number, set task: regression")
    return tuple(classes)
