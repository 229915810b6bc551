"""Arrow tables as pandas frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa


def to_frame(table: pa.Table, **options: Any) -> pd.DataFrame:
    """Return a table as a frame in which integers with missing values stay integers.

    pandas makes them floats by default: a category 1 would be 1.0, and an id of 19 digits would be another id.

    Parameters
    ----------
    options: of ``pyarrow.Table.to_pandas``.
    """
    import pyarrow as pa

    frame: pd.DataFrame = table.to_pandas(**options)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and name in frame.columns and pa.types.is_integer(column.type):
            dtype: Any = pd.UInt64Dtype() if pa.types.is_uint64(column.type) else pd.Int64Dtype()
            frame[name] = dtype.__from_arrow__(column)
    return frame
