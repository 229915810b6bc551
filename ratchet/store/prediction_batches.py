"""Batches of predictions: the answers of one request, stored as one Arrow table.

A row of a batch has the id ``<batch id>#<row>``, such as ``…#00012``. As text, these ids sort by time and row, like
those of single predictions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, cast

import orjson

if TYPE_CHECKING:
    import pyarrow as pa

    from ratchet.store.predictions import Prediction

# Number of decoded batches that are kept: consecutive windows and the feedback on a batch read the same one again.
_DECODED = 4
_DIGITS = 5
# The columns of a row; see ``Prediction``.
NAMES = ("id", "created_at", "model", "version", "features", "prediction", "score", "probabilities", "latency")
# The types that one Arrow column keeps exactly; it would turn integers among floats into floats.
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class PredictionBatch:
    """The predictions of one request.

    Attributes
    ----------
    id: unique; ids sort by time.
    created_at: seconds since the epoch.
    model, version: the model that answered.
    n_rows: the number of predictions.
    latency: seconds from the request's arrival until the rows were ready to be saved.
    content: an Arrow IPC stream, compressed with zstd. Its columns are ``features`` (a struct of the records),
        ``prediction``, and, if the model has probabilities, ``score`` and ``probabilities`` (a struct by class name).
    """

    id: str
    created_at: float
    model: str
    version: str
    n_rows: int
    latency: float
    content: bytes

    @classmethod
    def from_columns(
        cls,
        batch_id: str,
        created_at: float,
        model: str,
        version: str,
        latency: float,
        *,
        features: pa.StructArray,
        prediction: pa.Array,
        score: pa.Array | None = None,
        probabilities: pa.StructArray | None = None,
    ) -> PredictionBatch:
        """Return the batch of some Arrow columns of equal length."""
        columns = {"features": features, "prediction": prediction, "score": score, "probabilities": probabilities}
        content = _encoded({name: column for name, column in columns.items() if column is not None})
        return cls(batch_id, created_at, model, version, len(prediction), latency, content)

    def table(self) -> pa.Table:
        """Return the Arrow table of ``content``."""
        return _decoded(self.content)

    def columns(self, *names: str) -> pa.Table:
        """Return some of the columns, without the time that the others take to be decompressed."""
        import pyarrow as pa

        stored = pa.ipc.open_stream(self.content).schema.names
        included = [position for position, name in enumerate(stored) if name in names]
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=included)
        return pa.ipc.open_stream(self.content, options=options).read_all()

    def row(self, index: int) -> Prediction:
        """Return one row; a feature that its record lacked is None."""
        return next(self.rows(index, index + 1))

    def rows(self, start: int = 0, stop: int | None = None, *, names: Sequence[str] = NAMES) -> Iterator[Prediction]:
        """Return the rows from one index up to another one, which is not included.

        Parameters
        ----------
        names: the columns that the rows have.
        """
        indexes = range(self.n_rows)[start:stop]
        return self._rows(self.table().slice(indexes.start, len(indexes)), indexes, names)

    def rows_at(self, indexes: Sequence[int], *, names: Sequence[str] = NAMES) -> Iterator[Prediction]:
        """Return the rows of some indexes, in this order."""
        import pyarrow as pa

        return self._rows(self.table().take(pa.array(indexes, pa.int64())), indexes, names)

    def _rows(self, table: pa.Table, indexes: Sequence[int], names: Sequence[str]) -> Iterator[Prediction]:
        columns = {name: column_values(table.column(name)) for name in table.column_names if name in names}
        columns["id"] = [row_id(self.id, index) for index in indexes]
        for name in set(names) - columns.keys():
            columns[name] = [getattr(self, name, None)] * len(indexes)
        for values in zip(*(columns[name] for name in names), strict=True):
            yield cast("Prediction", dict(zip(names, values, strict=True)))

    def without_features(self, indices: Collection[int]) -> PredictionBatch:
        """Return the batch without the features of some rows, whose values are no longer in the content."""
        table = with_nulls(self.table(), "features", [index in indices for index in range(self.n_rows)])
        return replace(self, content=_encoded({name: table.column(name) for name in table.column_names}))


def row_id(batch_id: str, index: int) -> str:
    """Return the prediction id of a row of a batch."""
    return f"{batch_id}#{index:0{_DIGITS}d}"


def split_id(prediction_id: str) -> tuple[str, int] | None:
    """Return the batch and the row of a prediction id; None for any other text."""
    batch_id, _, row = prediction_id.partition("#")
    if len(row) != _DIGITS or not (row.isascii() and row.isdigit()):
        return None
    return batch_id, int(row)


def to_array(values: Sequence[Any]) -> pa.Array:
    """Return an Arrow array from which ``column_values`` returns the same values with the same types.

    Values of several types, and those that Arrow has no type for, are stored as JSON (``arrow.json``).
    """
    import pyarrow as pa

    kinds = set(map(type, values)) - {NoneType}
    if not kinds or (len(kinds) == 1 and kinds.issubset(_SCALARS)):
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeError):
            pass  # such as an integer of more than 64 bits
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.json_())


def to_struct(records: Sequence[Mapping[str, Any]]) -> pa.StructArray:
    """Return records as a struct; a key that a record lacks is null."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        return pa.array([{}] * len(records), pa.struct([]))
    return pa.StructArray.from_arrays([to_array([record.get(name) for record in records]) for name in names], names)


def column_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of an Arrow column, with those that are stored as JSON parsed."""
    import pyarrow as pa

    if isinstance(column.type, pa.JsonType):
        return [None if text is None else orjson.loads(text) for text in column.to_pylist()]
    if not pa.types.is_struct(column.type):
        values: list[Any] = column.to_pylist()
        return values
    names = [field.name for field in column.type]
    rows = zip(*map(column_values, column.flatten()), strict=True) if names else [()] * len(column)
    records: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    if column.null_count:  # records whose features were forgotten
        return [record if known else None for record, known in zip(records, column.is_valid().to_pylist(), strict=True)]
    return records


def with_nulls(table: pa.Table, column: str, are_null: Sequence[bool]) -> pa.Table:
    """Return a table with some values of a column removed, shape (rows,); a mask would keep them below it."""
    import pyarrow as pa

    kept = pa.array([None if is_null else index for index, is_null in enumerate(are_null)], pa.int64())
    place = table.schema.get_field_index(column)
    return table.set_column(place, table.schema.field(place), table.column(place).combine_chunks().take(kept))


def value_counts(column: pa.ChunkedArray) -> list[tuple[Any, int]]:
    """Return the different values of an Arrow column that is not a struct, each with its number of rows."""
    import pyarrow as pa

    is_json = isinstance(column.type, pa.JsonType)
    stored = pa.chunked_array([chunk.storage for chunk in column.chunks]) if is_json else column
    counted = stored.value_counts()
    values = counted.field(0).to_pylist()
    return list(zip(map(orjson.loads, values) if is_json else values, counted.field(1).to_pylist(), strict=True))


def _encoded(columns: Mapping[str, pa.Array]) -> bytes:
    import pyarrow as pa

    table = pa.table(dict(columns)).combine_chunks()
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@lru_cache(maxsize=_DECODED)
def _decoded(content: bytes) -> pa.Table:
    import pyarrow as pa

    return pa.ipc.open_stream(content, options=pa.ipc.IpcReadOptions(use_threads=False)).read_all()
