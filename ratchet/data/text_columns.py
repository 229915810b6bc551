"""Types of columns that are read as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa


def typed_frame(table: pa.Table) -> pd.DataFrame:
    """Return columns of text, null where a value is missing, in the types that their values have.

    A column is int64, float64 or boolean where each of its values reads as one, else text. A column without a value is
    float64. Integers beyond 64 bits stay text, so that no digit is lost.
    """
    import pyarrow as pa

    typed = pa.table([_typed(column) for column in table.columns], names=table.column_names)
    frame: pd.DataFrame = typed.to_pandas()
    return frame


def _typed(text: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if text.null_count == len(text):
        return text.cast(pa.float64())
    first = text[pc.index(text.is_valid(), True).as_py()].as_py()
    if first.lower() in ("true", "false"):
        lowered = pc.utf8_lower(text)
        known = pc.is_in(lowered, pa.array(["true", "false", None]))
        return pc.equal(lowered, "true") if pc.all(known).as_py() else text
    try:
        float(first)
        return _numbers(pc.ascii_trim_whitespace(text))
    except ValueError:  # pyarrow's ArrowInvalid is one too
        return text


def _numbers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text as int64 or float64; raise ValueError where a value is not a number, or an integer beyond 64 bits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.any(pc.match_substring_regex(text, "^[+-]?(0x|nan$)", ignore_case=True)).as_py():
        raise ValueError
    try:
        return text.cast(pa.int64())
    except pa.ArrowInvalid:
        numbers = text.cast(pa.float64())
    if pc.any(pc.match_substring_regex(text, "^[+-]?[0-9]{19,}$")).as_py():
        raise ValueError
    return numbers
