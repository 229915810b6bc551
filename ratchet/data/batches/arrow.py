"""Arrow's columns as the values that the checks of a data set take."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ratchet.config import Column
from ratchet.data.columns import as_text
from ratchet.errors import DataError

Kind = Literal["number", "category"]


def kind_of(name: str, stored: pa.DataType, rule: Column) -> Kind:
    """What a column holds: what the config says, else what the file's own schema says.

    Raises
    ------
    DataError: it holds lists or records.
    """
    if pa.types.is_nested(stored):
        raise DataError(f"column {name!r}: expected numbers or text, got {stored}; name it in dataset.drop")
    if rule.type is not None:
        return "number" if rule.type == "number" else "category"
    return "number" if _is_number(stored) or pa.types.is_boolean(stored) else "category"


def numbers(column: pa.ChunkedArray, index: pd.Index[Any], name: str) -> pd.Series[Any]:
    """A column of numbers as float64, NaN where one is missing; a column of text stays as it is."""
    if not (_is_number(column.type) or pa.types.is_boolean(column.type)):
        return texts(column, index, name)
    return _series(_joined(column.cast(pa.float64())).to_numpy(zero_copy_only=False), index, name)


def texts(column: pa.ChunkedArray, index: pd.Index[Any], name: str) -> pd.Series[Any]:
    """A column as text in an object array, None where a value is missing; each distinct value is converted once."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    encoded = _joined(column.dictionary_encode())
    distinct = [None if value is None else as_text(value) for value in encoded.dictionary.to_pylist()]
    words = np.array([None, *distinct], dtype=object)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return _series(words[codes + 1], index, name)


def targets(column: pa.ChunkedArray, index: pd.Index[Any], name: str) -> pd.Series[Any]:
    """The column to predict: numbers as they are stored, everything else as text."""
    if not _is_number(column.type):
        return texts(column, index, name)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return _series(_joined(column).to_numpy(zero_copy_only=False), index, name)


def _is_number(stored: pa.DataType) -> bool:
    return bool(pa.types.is_integer(stored) or pa.types.is_floating(stored) or pa.types.is_decimal(stored))


def _joined(column: pa.ChunkedArray) -> Any:
    """The column as one array; nothing is copied where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _series(values: npt.NDArray[Any], index: pd.Index[Any], name: str) -> pd.Series[Any]:
    return pd.Series(values, index=index, name=name, dtype=values.dtype, copy=False)
