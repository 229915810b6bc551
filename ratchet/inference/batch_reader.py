"""Read batches of records, as JSON rows, JSON columns or Arrow, into Arrow columns.

The columns are checked as a whole by the rules of ``RecordReader``. A batch that breaks a rule, or has a value that is
written in another way than its column's others, is read again row by row: by ``RecordReader``, which names the row and
the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from types import NoneType
from typing import TYPE_CHECKING, Any

import orjson

from ratchet.data.schema import Field
from ratchet.errors import InputError, Problem
from ratchet.inference.arrow_stream import no_rows, read_stream, read_table, too_many_rows
from ratchet.inference.column_values import as_json, read_column
from ratchet.model.record_schema import (
    LARGEST,
    LONGEST_TEXT,
    Record,
    RecordReader,
    is_nullable,
    may_have_equal_keys,
    parse_numbers_as_text,
    refuse_equal_keys,
)

if TYPE_CHECKING:
    import pyarrow as pa

# Number of unknown columns that a refusal names at most.
_MOST_UNKNOWN = 20
_NUMBERS = {int, float, NoneType}


class _NotByColumnError(Exception):
    """The columns cannot be read as a whole."""


class BatchReader:
    """Read batches of one schema into columns in the model's order: float64, or text; null where missing.

    Parameters
    ----------
    records: reads single records, and has the number of rows that a batch may have.
    most_bytes: the largest size of a stream after decompression.
    """

    def __init__(self, records: RecordReader, most_bytes: int = 2**26) -> None:
        self._records = records
        self._most_bytes = most_bytes
        self._fields = {field.name: field for field in records.fields}
        self._readers = {name: field.reader for name, field in self._fields.items()}

    def read_json(self, body: bytes) -> tuple[pa.RecordBatch, bool]:
        """Read ``{"rows": [record, …]}``, or ``{"columns": {feature: [value, …], …}}``.

        Returns
        -------
        The columns, and whether they were sent as columns.

        Raises
        ------
        InputError: has each invalid value, such as ``rows[3].age``.
        """
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = None
        if isinstance(found, dict) and list(found) == ["columns"]:
            return self._from_columns(found["columns"], body), True
        try:
            return self._from_rows(found, body), False
        except _NotByColumnError:
            return self._transposed(self._records.read_many(body)), False

    def read_arrow(self, body: bytes) -> pa.RecordBatch:
        """Read an Arrow IPC stream, of which each column is a feature.

        Raises
        ------
        InputError: has each invalid value, such as ``rows[3].age``.
        """
        return self._from_arrow(read_stream(body, self._fields, self._records.most_rows, self._most_bytes))

    def read_table(self, table: pa.Table) -> pa.RecordBatch:
        """Read a table in memory, of which each column is a feature, as ``read_arrow`` reads a stream.

        Raises
        ------
        InputError: has each invalid value, such as ``rows[3].age``.
        """
        if not table.num_rows:
            raise no_rows()
        return self._from_arrow(read_table(table, self._fields))

    def _from_arrow(self, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
        try:
            return self._checked(columns)
        except _NotByColumnError:
            named = {name: map(as_json, column.to_pylist()) for name, column in self._few_unknown(columns).items()}
            return self._transposed(self._records.read_values(_rows_of(named)))

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of columns; that they have one length is not in it."""
        record = self._records.json_schema()
        limits = {"type": "array", "minItems": 1, "maxItems": self._records.most_rows}
        columns = {
            "type": "object",
            "properties": {name: {**limits, "items": value} for name, value in record["properties"].items()},
            "required": record.get("required", []),
            "minProperties": 1,
            "additionalProperties": False,
        }
        return {
            "type": "object",
            "title": "Columns",
            "properties": {"columns": columns},
            "required": ["columns"],
            "additionalProperties": False,
        }

    def _from_rows(self, found: Any, body: bytes) -> pa.RecordBatch:
        """Read the rows of a body as columns, if each of them has all features and no others."""
        names, rows = list(self._fields), found.get("rows") if isinstance(found, dict) else None
        if not isinstance(rows, list) or len(found) > 1 or not 0 < len(rows) <= self._records.most_rows:
            raise _NotByColumnError
        try:
            if set(map(len, rows)) != {len(names)}:
                raise _NotByColumnError
            columns = {name: [row[name] for row in rows] for name in names}
        except (TypeError, KeyError):
            raise _NotByColumnError from None
        return self._checked(self._arrays(columns, body, keys=1 + len(rows) * len(names)))

    def _from_columns(self, columns: Any, body: bytes) -> pa.RecordBatch:
        n_rows = self._require_columns(columns)
        if n_rows > self._records.most_rows:
            raise too_many_rows(self._records.most_rows, n_rows)
        if not n_rows:
            raise no_rows()
        try:
            if not columns.keys() <= self._fields.keys():
                raise _NotByColumnError
            return self._checked(self._arrays(columns, body, keys=1 + len(columns)))
        except _NotByColumnError:
            refuse_equal_keys(body)
            found = self._few_unknown(parse_numbers_as_text(body)["columns"])
            return self._transposed(self._records.read_values(_rows_of(found)))

    def _require_columns(self, columns: Any) -> int:
        """Return the number of rows of columns.

        Raises
        ------
        InputError: they are no lists of one length.
        """
        if not isinstance(columns, dict):
            raise InputError([Problem("columns", "Input should be an object with a list for each feature")])
        problems = [
            Problem(f"columns.{name}", "Input should be a valid list")
            for name, values in columns.items()
            if not isinstance(values, list)
        ]
        lengths = {} if problems else {name: len(values) for name, values in columns.items()}
        first = next(iter(lengths), "")
        problems += [
            Problem(f"columns.{name}", f"has {length} values, and {first} has {lengths[first]}")
            for name, length in lengths.items()
            if length != lengths[first]
        ]
        if problems:
            raise InputError(problems[:_MOST_UNKNOWN])
        return lengths.get(first, 0)

    def _arrays(self, columns: Mapping[str, list[Any]], body: bytes, keys: int) -> dict[str, pa.Array]:
        """Return parsed JSON as arrays, if each value has the JSON type of its column."""
        import pyarrow as pa

        arrays, texts = {}, 0
        may_have_booleans = b"true" in body or b"false" in body
        for name, values in columns.items():
            is_number = self._fields[name].type == "number"
            # Arrow would take true for 1.
            if is_number and may_have_booleans and not _NUMBERS.issuperset(map(type, values)):
                raise _NotByColumnError
            try:
                arrays[name] = pa.array(values, pa.float64() if is_number else pa.string())
            except (pa.ArrowException, OverflowError, UnicodeError):
                raise _NotByColumnError from None
            texts += 0 if is_number else len(values) - arrays[name].null_count
        if may_have_equal_keys(body, keys + texts):
            raise _NotByColumnError
        return arrays

    def _checked(self, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
        """Return columns as the model takes them, if no value breaks a rule."""
        import pyarrow as pa

        if not columns.keys() <= self._fields.keys():
            raise _NotByColumnError
        n_rows = len(next(iter(columns.values())))
        arrays = []
        for name, field in self._fields.items():
            try:
                read = read_column(self._readers[name], columns.get(name, pa.nulls(n_rows)))
            except (ValueError, NotImplementedError):  # pyarrow's errors are of these classes
                raise _NotByColumnError from None
            if not _keeps_rules(field, read):
                raise _NotByColumnError
            arrays.append(read)
        return pa.RecordBatch.from_arrays(arrays, list(self._fields))

    def _transposed(self, records: Sequence[Record]) -> pa.RecordBatch:
        import pyarrow as pa

        arrays = [
            pa.array([record.get(name) for record in records], pa.float64() if field.type == "number" else pa.string())
            for name, field in self._fields.items()
        ]
        return pa.RecordBatch.from_arrays(arrays, list(self._fields))

    def _few_unknown(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the features among columns, and the first columns that are none: there may be very many."""
        unknown = islice((name for name in columns if name not in self._fields), _MOST_UNKNOWN)
        return {name: columns[name] for name in (*(name for name in columns if name in self._fields), *unknown)}


def _rows_of(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _keeps_rules(field: Field, values: pa.Array) -> bool:
    """Whether no value breaks a rule of the field; the same rules as those of a single record."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.null_count and not is_nullable(field):
        return False
    if values.null_count == len(values):
        return True
    if field.type == "number":
        low, high = field.rule.minimum, field.rule.maximum
        numbers = values.drop_null().to_numpy()
        lowest, highest = -LARGEST if low is None else low, LARGEST if high is None else high
        return bool(lowest <= numbers.min() and numbers.max() <= highest)
    if field.rule.categories is not None and field.type == "category":
        return bool(pc.all(pc.is_in(values, pa.array(field.rule.categories))).as_py())
    if field.type == "text" and pc.max(pc.utf8_length(values)).as_py() > max(LONGEST_TEXT, field.longest or 0):
        return False
    return not pc.any(pc.match_substring(values, "\0")).as_py()
