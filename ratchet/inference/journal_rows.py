"""The lines of a journal: a checksum and one row as JSON, and the check of rows that are read back."""

from __future__ import annotations

import zlib
from typing import Any, cast

import orjson

from ratchet.store.predictions import Prediction
from ratchet.store.tables import predictions

_NUMBER = (int, float)
_TYPES: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "created_at": _NUMBER,
    "model": str,
    "version": str,
    "features": dict,
    "prediction": (str, *_NUMBER),
    "score": _NUMBER,
    "probabilities": dict,
    "latency": _NUMBER,
}


def to_line(row: Prediction) -> bytes:
    """Return a row as a line with its checksum."""
    content = orjson.dumps(row)
    return b"%08x %b\n" % (zlib.crc32(content), content)


def from_line(line: bytes) -> Prediction:
    """Return the row of a line, without its line break; lines of earlier releases have no checksum.

    A row of another schema is fitted to this one: a column that it lacks is None if the table allows that, and a column
    that the table does not have is left out.

    Raises
    ------
    ValueError: the line cannot be read, or has not all that a row needs.
    """
    content = line
    if not line.startswith(b"{"):
        checksum, _, content = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(content):
            raise ValueError("the checksum differs")
    row = orjson.loads(content)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return cast(Prediction, {name: _value(row, name) for name in Prediction.__annotations__})


def _value(row: dict[str, Any], name: str) -> Any:
    value = row.get(name)
    if value is None:
        if not predictions.c[name].nullable:
            raise ValueError(f"{name} is missing")
    elif name in _TYPES and not isinstance(value, _TYPES[name]):
        raise ValueError(f"{name} is {type(value).__name__}")
    return value
