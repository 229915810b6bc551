"""The bodies of batches: rows of JSON, columns of JSON, and Arrow streams."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ratchet.data.column_reader import JsonNumber
from ratchet.model.record_schema import parse_numbers_as_text


def rows_body(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps({"rows": rows}).encode()


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The columns of rows that have the same keys."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def columns_body(bodies: Sequence[bytes]) -> bytes:
    """The columns of rows, with each number as it is written in its row."""

    def text(value: Any) -> str:
        return str(value) if isinstance(value, JsonNumber) else json.dumps(value)

    columns = columns_of([parse_numbers_as_text(body) for body in bodies])
    parts = [f"{json.dumps(name)}: [{', '.join(map(text, values))}]" for name, values in columns.items()]
    return f'{{"columns": {{{", ".join(parts)}}}}}'.encode()


def stream(table: pa.Table, compression: str | None = None, batch_rows: int | None = None) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return bytes(sink.getvalue())
