"""Rows and batches that are read back from a journal, and the lines of set-aside entries and of earlier releases.

A line is a checksum and one row as JSON. A batch is ``{"batch": {…}, "content": …}`` with its content in Base64.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import fields
from typing import Any, cast

import orjson

from ratchet.store.prediction_batches import PredictionBatch
from ratchet.store.predictions import Entry, Prediction
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
    "n_rows": int,
}


def to_line(entry: Entry) -> bytes:
    """Return a row or a batch as a line with its checksum."""
    if isinstance(entry, PredictionBatch):
        head = {name: value for name, value in vars(entry).items() if name != "content"}
        content = orjson.dumps({"batch": head, "content": base64.b64encode(entry.content).decode()})
    else:
        content = orjson.dumps(entry)
    return b"%08x %b\n" % (zlib.crc32(content), content)


def damaged_line(content: bytes) -> bytes:
    """Return bytes that cannot be read as a line, which cannot be read either but counts as one."""
    return b"damaged " + base64.b64encode(content) + b"\n"


def from_line(line: bytes) -> Entry:
    """Return the row or the batch of a line, without its line break; lines of earlier releases have no checksum.

    Raises
    ------
    ValueError: the line cannot be read, or has not all that the store needs.
    """
    content = line
    if not line.startswith(b"{"):
        checksum, _, content = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(content):
            raise ValueError("the checksum differs")
    found = orjson.loads(content)
    if isinstance(found, dict) and "batch" in found:
        return fitted_batch(found["batch"], base64.b64decode(str(found.get("content"))))
    return fitted_row(found)


def fitted_row(row: Any) -> Prediction:
    """Return a row of any release as one of this one.

    A column that it lacks is None if the table allows that, and a column that the table does not have is left out.

    Raises
    ------
    ValueError: it has not all that the table needs.
    """
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return cast(Prediction, {name: _value(row, name) for name in Prediction.__annotations__})


def fitted_batch(head: Any, content: bytes) -> PredictionBatch:
    """Return a batch from its fields and its content.

    Raises
    ------
    ValueError: a field is missing or has another type.
    """
    if not isinstance(head, dict):
        raise ValueError("not a JSON object")
    names = [field.name for field in fields(PredictionBatch) if field.name != "content"]
    return PredictionBatch(**{name: _checked(head.get(name), name) for name in names}, content=content)


def _value(row: dict[str, Any], name: str) -> Any:
    value = row.get(name)
    return None if value is None and predictions.c[name].nullable else _checked(value, name)


def _checked(value: Any, name: str) -> Any:
    if value is None:
        raise ValueError(f"{name} is missing")
    if not isinstance(value, _TYPES[name]):
        raise ValueError(f"{name} is {type(value).__name__}")
    return value
