"""A pandas frame as an Arrow table of a model's features, for the reader of batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ratchet.data.column_reader import ColumnReader
from ratchet.errors import InputError, Problem
from ratchet.inference.column_values import as_json

if TYPE_CHECKING:
    import pyarrow as pa


def to_table(frame: pd.DataFrame, readers: Mapping[str, ColumnReader]) -> pa.Table:
    """Return the columns of a frame that are features; NaN, NaT and None are null.

    Parameters
    ----------
    readers: of the features, by name.

    Raises
    ------
    InputError: two columns have one name, or a value of a column with several types does not fit the feature.
    """
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    for position, name in enumerate(map(str, frame.columns)):
        if name in columns:
            raise InputError([Problem(name, "is given more than once")])
        if name in readers:
            columns[name] = _array(frame.iloc[:, position], readers[name])
    return pa.table(columns)


def _array(values: pd.Series[Any], reader: ColumnReader) -> pa.Array:
    import pyarrow as pa

    try:
        found = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):  # values of several types, such as 1 and "one"
        kind = pa.float64() if reader.rule.type == "number" else pa.string()
        found = pa.array([_value(value, reader, row) for row, value in enumerate(values)], kind)
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def _value(value: Any, reader: ColumnReader, row: int) -> float | str | None:
    plain = value.item() if isinstance(value, np.generic) else value
    plain = plain.isoformat() if isinstance(plain, datetime) and not pd.isna(plain) else plain
    try:
        return reader.from_json(None if plain is pd.NaT or plain is pd.NA else as_json(plain))
    except ValueError as error:
        hint = f": {error}" if str(error) else ""
        message = f"{value!r} is no {reader.rule.type}, and the column has values of several types{hint}"
        raise InputError([Problem(f"rows[{row}].{reader.name}", message)]) from None
