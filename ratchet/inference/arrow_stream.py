"""Read an Arrow IPC stream that a client sent into plain columns, with bounded memory.

The sizes that a stream declares are checked before anything is allocated for them: its rows, its buffers after
decompression, and its texts, of which a dictionary or a view can repeat one large text for every row.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet.errors import InputError, Problem, one_line

if TYPE_CHECKING:
    import pyarrow as pa

# Types of a message in Arrow's Message.fbs, and the places of fields in its tables.
_DICTIONARY, _BATCH = 2, 3
_HEADER_TYPE, _HEADER, _DICTIONARY_DATA = 1, 2, 1
_LENGTH, _BUFFERS, _COMPRESSION = 0, 2, 3
_BUFFER = struct.Struct("<qq")
_UNCOMPRESSED = -1
# Columns that pandas adds for an index without a name.
_PANDAS_INDEX = "__index_level_"


def read_stream(body: bytes, features: Collection[str], most_rows: int, most_bytes: int) -> dict[str, pa.Array]:
    """Return the columns of a stream by name: features as plain arrays, and others, which are not read, as nulls.

    Dictionaries, large texts and views become plain text, and times become text in ISO 8601.

    Parameters
    ----------
    features: the names of the columns that are read.
    most_rows: the largest number of rows.
    most_bytes: the largest size of all buffers after decompression, and of all texts together.

    Raises
    ------
    InputError: the stream is damaged or too large, has two columns of one name, or a feature of another type.
    """
    import pyarrow as pa

    try:
        n_rows = _check_sizes(body, most_rows, most_bytes)
        with pa.ipc.open_stream(body) as reader:
            names = reader.schema.names
            known = _check_schema(reader.schema, features)
        read = _read_columns(body, known)
    except (pa.ArrowException, OSError, struct.error, UnicodeDecodeError) as error:
        raise InputError([Problem("body", f"Invalid Arrow IPC stream: {one_line(error)}")]) from None
    _check_texts(read, most_bytes)
    return _plain_columns(read, names, n_rows)


def read_table(table: pa.Table, features: Collection[str]) -> dict[str, pa.Array]:
    """Return the columns of a table in memory as ``read_stream`` does.

    Raises
    ------
    InputError: two columns have one name, or a feature has a type that no feature can have.
    """
    known = _check_schema(table.schema, features)
    read = {table.schema.names[position]: table.column(position) for position in known}
    return _plain_columns(read, table.schema.names, table.num_rows)


def _plain_columns(read: Mapping[str, pa.ChunkedArray], names: Sequence[str], n_rows: int) -> dict[str, pa.Array]:
    """Return plain columns by name, without the index of a frame; those that are not read are nulls."""
    import pyarrow as pa

    kept = (name for name in names if not name.startswith(_PANDAS_INDEX))
    return {name: _plain(read[name]) if name in read else pa.nulls(n_rows) for name in kept}


def _read_columns(body: bytes, positions: list[int]) -> dict[str, pa.ChunkedArray]:
    """Return the columns at some positions, after a check of all their buffers."""
    import pyarrow as pa

    if not positions:  # for Arrow, no positions are all
        return {}
    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=positions)
    with pa.ipc.open_stream(body, options=options) as reader:
        table = reader.read_all()
    table.validate(full=True)
    return dict(zip(table.column_names, table.columns, strict=True))


def _check_sizes(body: bytes, most_rows: int, most_bytes: int) -> int:
    """Return the number of rows, after a check of the rows and buffers that the messages declare.

    Raises
    ------
    InputError: they are too large, or there is no row.
    """
    rows = size = 0
    for batch, is_dictionary, content in _batches(body):
        length = batch.number(_LENGTH, "<q")
        if not is_dictionary:
            rows += length
        if length < 0 or rows > most_rows:
            raise too_many_rows(most_rows, rows)
        if batch.offset(_COMPRESSION):
            size += sum(_declared_sizes(batch, content))
        if max(size, length if is_dictionary else 0) > most_bytes:
            raise _too_large("is", most_bytes)
    if not rows:
        raise no_rows()
    return rows


def _batches(body: bytes) -> Iterator[tuple[_Table, bool, Any]]:
    """Yield the table of each record batch, whether it is a dictionary, and the body of its message."""
    import pyarrow as pa

    for message in pa.ipc.MessageReader.open_stream(body):
        # Arrow has verified the structure of the metadata.
        root = _Table.root(message.metadata.to_pybytes())
        kind = root.number(_HEADER_TYPE, "<B")
        if kind == _BATCH:
            yield root.table(_HEADER), False, message.body
        elif kind == _DICTIONARY:
            yield root.table(_HEADER).table(_DICTIONARY_DATA), True, message.body


def _declared_sizes(batch: _Table, content: Any) -> Iterator[int]:
    """Yield the sizes of a batch's compressed buffers after decompression."""
    compressed = memoryview(content) if content is not None else memoryview(b"")
    for offset, length in batch.structs(_BUFFERS, _BUFFER):
        if length:
            (declared,) = struct.unpack_from("<q", compressed, offset)
            if declared < _UNCOMPRESSED:
                raise struct.error("a buffer has a negative size")
            yield length if declared == _UNCOMPRESSED else declared


class _Table:
    """A table of a flatbuffer: https://flatbuffers.dev/internals/."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start

    @classmethod
    def root(cls, data: bytes) -> _Table:
        """Return the table that a flatbuffer begins with."""
        return cls(data, struct.unpack_from("<I", data)[0])

    def offset(self, field: int) -> int:
        """Return where a field lies in the data; 0 if it is absent."""
        fields = self._start - struct.unpack_from("<i", self._data, self._start)[0]
        place = 4 + 2 * field
        if place >= struct.unpack_from("<H", self._data, fields)[0]:
            return 0
        found = struct.unpack_from("<H", self._data, fields + place)[0]
        return self._start + found if found else 0

    def number(self, field: int, code: str) -> int:
        """Return a number; 0 if it is absent."""
        found = self.offset(field)
        return int(struct.unpack_from(code, self._data, found)[0]) if found else 0

    def table(self, field: int) -> _Table:
        """Return a table that a field refers to."""
        found = self.offset(field)
        if not found:
            raise struct.error("a message has no content")
        return _Table(self._data, found + struct.unpack_from("<I", self._data, found)[0])

    def structs(self, field: int, layout: struct.Struct) -> Iterator[tuple[Any, ...]]:
        """Yield the structs of a vector."""
        found = self.offset(field)
        if found:
            found += struct.unpack_from("<I", self._data, found)[0]
            count = struct.unpack_from("<I", self._data, found)[0]
            yield from layout.iter_unpack(self._data[found + 4 : found + 4 + count * layout.size])


def _check_schema(schema: pa.Schema, features: Collection[str]) -> list[int]:
    """Return the positions of the features.

    Raises
    ------
    InputError: two columns have one name, or a feature has a type that no feature can have.
    """
    import pyarrow as pa

    known, names = [], set()
    for position, field in enumerate(schema):
        if field.name in names:
            raise InputError([Problem(field.name, "is given more than once")])
        names.add(field.name)
        if field.name not in features:
            continue
        known.append(position)
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not _is_scalar(kind) or (kind != field.type and pa.types.is_null(kind)):
            message = f"Input should be a number, a text, a time or a boolean, and the column has type {field.type}"
            raise InputError([Problem(f"rows[0].{field.name}", message)])
    return known


def _is_scalar(kind: pa.DataType) -> bool:
    from pyarrow import types

    checks = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    return any(check(kind) for check in (*checks, _is_text, types.is_timestamp, types.is_date))


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _check_texts(columns: Mapping[str, pa.ChunkedArray], most_bytes: int) -> None:
    """Check the size of all texts where each occurs.

    Raises
    ------
    InputError: they are too large.
    """
    if sum(_text_size(chunk) for column in columns.values() for chunk in column.chunks) > most_bytes:
        raise _too_large("has text that is", most_bytes)


def _too_large(what: str, most_bytes: int) -> InputError:
    return InputError([Problem("body", f"{what} larger than {most_bytes} bytes (RATCHET_MAX_BODY_BYTES) when decoded")])


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column without dictionaries, views and times."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        column = column.cast(pa.string())
    elif pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = _as_iso(column)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _as_iso(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    return column.cast(pa.string())


def _text_size(values: pa.Array) -> int:
    """Return the bytes of an array's texts, each of them counted where it occurs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        if not _is_text(values.type.value_type):
            return 0
        lengths = _lengths(values.dictionary)
        return int(pc.sum(lengths.take(values.indices)).as_py() or 0)
    return int(pc.sum(_lengths(values)).as_py() or 0) if _is_text(values.type) else 0


def _lengths(text: pa.Array) -> pa.Array:
    """Return the bytes of each text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_string_view(text.type):
        return pc.binary_length(text)
    # A view has 16 bytes, of which the first four are the length; Arrow has no function for it.
    views = np.frombuffer(text.buffers()[1], dtype=np.int32)[4 * text.offset : 4 * (text.offset + len(text)) : 4]
    return pa.array(np.where(text.is_valid().to_numpy(zero_copy_only=False), views, 0))


def too_many_rows(most_rows: int, n_rows: int) -> InputError:
    """Return the error of a batch with too many rows."""
    return InputError([Problem("rows", f"List should have at most {most_rows} items after validation, not {n_rows}")])


def no_rows() -> InputError:
    """Return the error of a batch without rows."""
    return InputError([Problem("rows", "List should have at least 1 item after validation, not 0")])
