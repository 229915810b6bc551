"""The frames of a journal's segment: a mark, length, checksum and kind, then one row or one batch."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from ratchet.inference.journal_rows import fitted_batch, fitted_row
from ratchet.store.prediction_batches import PredictionBatch
from ratchet.store.predictions import Entry

# A text in UTF-8 cannot contain these bytes, so that a search for the next frame does not stop inside a row.
_MARK = b"\xf8RJ\x01"
_HEADER = struct.Struct("<4sIIB")
_ROW, _BATCH = 1, 2
# Number of bytes that are read at a time.
_BLOCK = 2**16


class Frame(NamedTuple):
    """A frame and the position after it."""

    kind: int
    payload: bytes
    end: int

    def entry(self) -> Entry:
        """Return the row or the batch.

        Raises
        ------
        ValueError: it cannot be read, or has not all that the store needs.
        """
        if self.kind == _ROW:
            return fitted_row(orjson.loads(self.payload))
        if self.kind == _BATCH:
            head, _, content = self.payload.partition(b"\n")
            return fitted_batch(orjson.loads(head), content)
        raise ValueError(f"kind {self.kind} is unknown")


def to_frame(entry: Entry) -> bytes:
    """Return a row or a batch as a frame."""
    if isinstance(entry, PredictionBatch):
        head = {name: value for name, value in vars(entry).items() if name != "content"}
        kind, payload = _BATCH, orjson.dumps(head) + b"\n" + entry.content
    else:
        kind, payload = _ROW, orjson.dumps(entry)
    return _HEADER.pack(_MARK, len(payload), zlib.crc32(payload, kind), kind) + payload


def read_frames(descriptor: int, position: int) -> Iterator[Frame]:
    """Return the frames of a file from a position on, until one is incomplete, damaged or not written yet."""
    start, block = position, b""
    while True:
        frame = _frame_in(block, position - start, start)
        if frame is None:
            start, block = position, os.pread(descriptor, _BLOCK, position)
            needed = _length_of(block)
            if needed > len(block):
                block = os.pread(descriptor, min(needed, os.fstat(descriptor).st_size - position), position)
            frame = _frame_in(block, 0, start)
        if frame is None:
            return
        yield frame
        position = frame.end


def next_frame(content: bytes) -> int | None:
    """Return the position of the first whole frame in a damaged part of a file; None if there is none."""
    at = content.find(_MARK)
    while at >= 0:
        if _frame_in(content, at, 0):
            return at
        at = content.find(_MARK, at + 1)
    return None


def _frame_in(block: bytes, at: int, start: int) -> Frame | None:
    """Return the frame at a position of a block that begins at ``start``; None if it is not whole."""
    if at + _HEADER.size > len(block):
        return None
    mark, length, checksum, kind = _HEADER.unpack_from(block, at)
    end = at + _HEADER.size + length
    payload = block[at + _HEADER.size : end]
    if mark != _MARK or end > len(block) or zlib.crc32(payload, kind) != checksum:
        return None
    return Frame(kind, payload, start + end)


def _length_of(block: bytes) -> int:
    """Return the length of the frame that a block begins with; 0 for none."""
    if len(block) < _HEADER.size or not block.startswith(_MARK):
        return 0
    length: int = _HEADER.unpack_from(block)[1]
    return _HEADER.size + length
