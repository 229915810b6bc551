"""Rows of the store as Arrow columns, and back.

Columns have the types of the table. A JSON column becomes a column of its values' type, such as text, numbers, or a
struct with a field for each feature; where the values have no common type, it stays JSON text, and the field's metadata
notes that. Whole numbers among fractions become fractions of the same value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    import pyarrow as pa

# In the metadata of a field whose values are JSON text.
_MARK = {b"ratchet": b"json"}
# The largest whole number up to which every one is a fraction too.
_EXACT = 2**53
_MICROSECONDS = 1_000_000


def to_table(rows: Sequence[Mapping[str, Any]], table: sa.Table, like: pa.Schema | None = None) -> pa.Table:
    """Return rows of a table as Arrow columns, without the column ``model``.

    Parameters
    ----------
    rows: as SQLAlchemy returns them, with all columns of the table.
    like: the schema of an earlier file; a JSON column keeps its type where the values fit, so that the files of a model
        can be read together.
    """
    import pyarrow as pa

    arrays, fields = [], []
    for column in table.columns:
        if column.name == "model":
            continue
        values = [row[column.name] for row in rows]
        if isinstance(column.type, sa.JSON):
            before = like.field(column.name) if like is not None and column.name in like.names else None
            field, array = json_column(column.name, values, before)
        else:
            kind = _arrow_type(column)
            array = pa.array([_stored(value, kind) for value in values], kind)
            field = pa.field(column.name, kind)
        fields.append(field)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def from_table(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Return the rows of ``to_table``, with times as seconds since the epoch."""
    text = [field.name for field in table.schema if is_json(field)]
    for row in table.to_pylist():
        for name, value in row.items():
            if isinstance(value, datetime):
                row[name] = value.timestamp()
        for name in text:
            row[name] = None if row[name] is None else json.loads(row[name])
        yield row


def is_json(field: pa.Field) -> bool:
    """Return whether the values of a column are JSON text."""
    return (field.metadata or {}).get(b"ratchet") == b"json"


def json_column(name: str, values: Sequence[Any], before: pa.Field | None = None) -> tuple[pa.Field, pa.Array]:
    """Return the values of a JSON column, typed if they have one type, else as JSON text."""
    import pyarrow as pa

    known = None if before is None else before.type
    kind = None if before is not None and is_json(before) else _common_type(values, known)
    if kind is not None:
        return pa.field(name, kind), pa.array(values, kind)
    text = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.field(name, pa.string(), metadata=_MARK), pa.array(text, pa.string())


def _common_type(values: Sequence[Any], before: pa.DataType | None) -> pa.DataType | None:
    """Return the type that holds all values without loss; None if there is none."""
    import pyarrow as pa

    present = [value for value in values if value is not None]
    if not present:
        return pa.null() if before is None else before
    if not all(isinstance(value, dict) for value in present):
        return _scalar_type(present, before)
    known = {field.name: field.type for field in before} if before is not None and pa.types.is_struct(before) else {}
    names = dict.fromkeys([*known, *(key for value in present for key in value)])
    fields = {}
    for key in names:
        column = [value[key] for value in present if value.get(key) is not None]
        fields[key] = _scalar_type(column, known.get(key)) if column else known.get(key, pa.null())
    if not fields or None in fields.values():
        return None
    return pa.struct(list(fields.items()))


def _scalar_type(values: Sequence[Any], before: pa.DataType | None) -> pa.DataType | None:
    import pyarrow as pa

    kinds = {type(value) for value in values}
    if kinds == {str}:
        return pa.string()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and before != pa.float64() and all(abs(value) < 2**63 for value in values):
        return pa.int64()
    if kinds <= {int, float} and all(isinstance(value, float) or abs(value) <= _EXACT for value in values):
        return pa.float64()
    return None


def _arrow_type(column: sa.Column[Any]) -> pa.DataType:
    import pyarrow as pa

    if isinstance(column.type, sa.Boolean):
        return pa.bool_()
    if isinstance(column.type, sa.Float):
        return pa.timestamp("us", "UTC") if column.name.endswith("_at") else pa.float64()
    if isinstance(column.type, sa.Integer):
        return pa.int64()
    return pa.binary() if isinstance(column.type, sa.LargeBinary) else pa.string()


def _stored(value: Any, kind: pa.DataType) -> Any:
    import pyarrow as pa

    return round(value * _MICROSECONDS) if value is not None and pa.types.is_timestamp(kind) else value
