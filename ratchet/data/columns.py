"""One column's values in the type that the model takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ratchet.config import LABELLED, Column, TaskName
from ratchet.errors import DataError

# A text column of which more than this share reads as numbers is a numeric column with faults in it.
_MOSTLY_NUMBERS = 0.5
# With more classes than this, the target is a number to predict and no label.
MOST_CLASSES = 1000


def typed_values(values: pd.Series[Any], rule: Column) -> pd.Series[Any]:
    """A feature's values as the model takes them: float64, or text in an object column.

    Parameters
    ----------
    values: as the source gave them.
    rule: what the config says of the column; a type that it leaves open is inferred.

    Raises
    ------
    DataError: names the column, what was expected, and an example row.
    """
    if values.isna().all():
        raise nothing_in(str(values.name))
    return typed_part(values, rule)


def nothing_in(column: str) -> DataError:
    """What there is to say of a column without a value."""
    return DataError(f"column {column!r}: every value is missing; name it in dataset.drop")


def typed_part(values: pd.Series[Any], rule: Column) -> pd.Series[Any]:
    """The values of some rows of a feature, as ``typed_values`` gives them; they may all be missing.

    Parameters
    ----------
    values: as the source gave them; the index counts the rows of the whole data set from 0.
    rule: what the column holds.

    Raises
    ------
    DataError: as ``typed_values``.
    """
    if rule.type == "time":
        return as_time_text(values)
    if rule.type == "text":
        return _texts(values)
    if pd.api.types.is_numeric_dtype(values) and rule.type != "category":
        return _finite(values.astype("float64"))
    if rule.type == "category" or (rule.type is None and not _reads_as_numbers(values)):
        return _texts(values)
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = values[numbers.isna() & values.notna()]
    if len(wrong):
        raise DataError(
            f"column {values.name!r}: expected a number, got {wrong.iloc[0]!r} in row {row_number(wrong.index[0])}"
            f" ({len(wrong)} such); mend it, or declare the column as type: category"
        )
    return _finite(numbers.astype("float64"))


def _texts(values: pd.Series[Any]) -> pd.Series[Any]:
    if isinstance(values.dtype, pd.StringDtype):
        return values.astype(object)
    if values.dtype == object:
        return values.map(as_text, na_action="ignore").astype(object)
    codes, distinct = pd.factorize(values)  # a missing value has the code -1
    texts = np.array([*map(as_text, distinct), np.nan], dtype=object)
    return pd.Series(texts[codes], index=values.index, name=values.name, dtype=object)


def as_time_text(values: pd.Series[Any]) -> pd.Series[Any]:
    """Times as text in ISO 8601, UTC where they say their zone; their order as text is their order in time.

    Raises
    ------
    DataError: a value is no such time.
    """
    try:
        form = None if pd.api.types.is_datetime64_any_dtype(values) else "ISO8601"
        times = pd.to_datetime(values, format=form, utc=True)
    except (ValueError, TypeError):
        times = pd.to_datetime(values, format="ISO8601", utc=True, errors="coerce")
        wrong = values[times.isna() & values.notna()]
        raise DataError(
            f"column {values.name!r}: expected a time in ISO 8601, such as 2026-01-31T18:00:00,"
            f" got {wrong.iloc[0]!r} in row {row_number(wrong.index[0])}"
        ) from None
    return times.map(_iso, na_action="ignore").astype(object)


def _iso(time: pd.Timestamp) -> str:
    return time.tz_localize(None).isoformat(timespec="microseconds" if time.microsecond else "seconds")


def _finite(values: pd.Series[Any]) -> pd.Series[Any]:
    infinite = values.index[np.isinf(values)]
    if len(infinite):
        raise DataError(
            f"column {values.name!r}: expected a finite number, got infinity in row {row_number(infinite[0])}"
        )
    return values


def _reads_as_numbers(values: pd.Series[Any]) -> bool:
    present = values.dropna()
    return bool(pd.to_numeric(present, errors="coerce").notna().mean() > _MOSTLY_NUMBERS)


def as_text(value: Any) -> str:
    """A value of a category or a text; 1.0 is ``1``: pandas makes floats of whole numbers as soon as one is missing."""
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def row_number(index: Any) -> int:
    """A row's number as a person counts the rows under the header."""
    return int(index) + 1


def typed_target(values: pd.Series[Any], task: TaskName) -> tuple[pd.Series[Any], tuple[str | int, ...] | None]:
    """The target's values and its classes, sorted; None in their place where a number is predicted.

    Raises
    ------
    DataError: a target is missing, or is not what the task predicts.
    """
    typed = target_part(values, task)
    return typed, (classes_of(set(typed.unique().tolist()), str(values.name)) if task in LABELLED else None)


def target_part(values: pd.Series[Any], task: TaskName) -> pd.Series[Any]:
    """The targets of some rows: labels as whole numbers or text, else float64.

    Raises
    ------
    DataError: a target is missing, or is not what the task predicts.
    """
    missing = values.index[values.isna()]
    if len(missing):
        raise DataError(f"target {values.name!r}: is missing in row {row_number(missing[0])} ({len(missing)} such)")
    if task not in LABELLED:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        wrong = numbers.index[~np.isfinite(numbers)]
        if len(wrong):
            got, row = values[wrong[0]], row_number(wrong[0])
            what = "a number" if numbers.isna()[wrong[0]] else "a finite number"
            raise DataError(f"target {values.name!r}: expected {what}, got {got!r} in row {row}")
        return numbers
    if pd.api.types.is_float_dtype(values) and not (values % 1 == 0).all():
        some = values[values % 1 != 0].iloc[0]
        raise DataError(f"target {values.name!r}: {some:g} is no class; to predict a number, set task: regression")
    number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return values.astype("int64") if number else values.map(as_text).astype(object)


def classes_of(labels: set[Any], target: str) -> tuple[str | int, ...]:
    """All labels of a target, sorted.

    Raises
    ------
    DataError: there are fewer than two, or so many that they are numbers to predict.
    """
    classes = sorted(labels)
    if len(classes) < 2:
        raise DataError(f"target {target!r}: has only one class, {classes[0]!r}; a classifier needs two at least")
    if len(classes) > MOST_CLASSES:
        raise DataError(f"target {target!r}: has {len(classes)} classes; for a number to predict, set task: regression")
    return tuple(classes)
