"""Read the values of a request's column by the rule of ``ColumnReader``, all at once."""

from __future__ import annotations

from decimal import Decimal
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.data.column_reader import ColumnReader, JsonNumber
from ratchet.errors import DataError
from ratchet.model.record_schema import LONGEST_TIME, canonical_time

if TYPE_CHECKING:
    import pyarrow as pa


def read_column(reader: ColumnReader, values: pa.Array) -> pa.Array:
    """Return a column of numbers, text or booleans as the model takes it: float64 or text, null where missing.

    Raises
    ------
    ValueError: a value does not fit the column, or has to be read by itself.
    """
    import pyarrow as pa

    if pa.types.is_string(values.type):
        values = _from_text(reader, values)
    elif pa.types.is_null(values.type):
        return values.cast(pa.float64() if reader.rule.type == "number" else pa.string())
    elif reader.rule.type == "number":
        return _from_numbers(reader, values)
    else:
        values = _of_distinct(values, lambda value: reader.from_json(as_json(value)))
    return _of_distinct(values, _time) if reader.rule.type == "time" else values


def as_json(value: Any) -> Any:
    """Return a value of an Arrow column as the reader of single values takes it from JSON."""
    if isinstance(value, float) and isnan(value):
        return None
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return JsonNumber(value if isinstance(value, Decimal) else repr(value))
    return value


def _time(text: str) -> str:
    if len(text) > LONGEST_TIME:
        raise ValueError
    return canonical_time(text)


def _from_text(reader: ColumnReader, values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if "" in reader.missing_words:
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    try:
        found = reader.from_text(pa.chunked_array([values]))
    except DataError:
        raise ValueError from None
    if pa.types.is_boolean(found.type) and not reader.boolean:
        raise ValueError
    if reader.rule.type == "number":
        found = found.cast(pa.float64(), safe=False)
    return found.chunk(0) if found.num_chunks == 1 else pa.concat_arrays(found.chunks)


def _from_numbers(reader: ColumnReader, values: pa.Array) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_boolean(values.type) and not reader.boolean:
        raise ValueError
    numbers = values.cast(pa.float64(), safe=False)
    found = numbers.to_numpy(zero_copy_only=False)
    is_missing = np.isnan(found)  # nulls too
    if reader.missing_numbers:
        is_missing |= np.isin(found, list(reader.missing_numbers))
    return pa.array(found, mask=is_missing) if is_missing.any() else numbers


def _of_distinct(values: pa.Array, read: Any) -> pa.Array:
    """Return the text of each value, which is read once where it occurs often.

    Raises
    ------
    ValueError: a value cannot be read.
    """
    import pyarrow as pa

    encoded = values.dictionary_encode()
    texts = [None if value is None else read(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)
