"""The target of a data set, as labels or as numbers to predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ratchet.config import LABELLED, TaskName
from ratchet.data.column_reader import ColumnReader
from ratchet.data.columns import as_texts, row_number
from ratchet.errors import DataError


def typed_target(values: pd.Series[Any], task: TaskName, reader: ColumnReader) -> pd.Series[Any]:
    """Return rows of the target: labels as integers or text, numbers to predict as float64.

    The labels of a target that is declared a category keep their text.

    Raises
    ------
    DataError: a target is missing, or does not fit the task.
    """
    values = reader.known(values)
    missing = values.index[values.isna()]
    if len(missing):
        raise DataError(f"target {values.name!r}: is missing in row {row_number(missing[0])} ({len(missing)} such)")
    if task not in LABELLED:
        return _target_numbers(values, reader)
    if reader.rule.type is not None:
        if reader.rule.type != "number":
            return as_texts(values)
        values = reader.from_values(values)
    if pd.api.types.is_float_dtype(values) and not (values % 1 == 0).all():
        example = values[values % 1 != 0].iloc[0]
        raise DataError(
            f"target {values.name!r}: {example:g} is not a class; to predict a number, set task: regression"
        )
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return values.astype("int64") if is_number else as_texts(values)


def _target_numbers(values: pd.Series[Any], reader: ColumnReader) -> pd.Series[Any]:
    numbers = reader.numbers(values)
    wrong = numbers.index[~np.isfinite(numbers)]
    if len(wrong):
        got, row = values[wrong[0]], row_number(wrong[0])
        expected = "a number" if numbers.isna()[wrong[0]] else "a finite number"
        raise DataError(f"target {values.name!r}: expected {expected}, got {got!r} in row {row}")
    return numbers
