"""A column of a text file that is typed block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratchet.data.column_reader import ColumnReader
from ratchet.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class ColumnBuilder:
    """Type the blocks of a column as its reader types the whole column.

    Where all blocks have one type, that is the type of the column. Else the column is mixed, and its text has to be
    read again, whole.

    Parameters
    ----------
    reader: of the column.
    strict: whether a few words among numbers are errors.
    """

    def __init__(self, reader: ColumnReader, *, strict: bool) -> None:
        self._reader, self._strict, self._whole = reader, strict, False
        self._chunks: list[pa.ChunkedArray] = []
        self._kinds: set[str] = set()

    @property
    def is_mixed(self) -> bool:
        """Whether two blocks have different types."""
        return len(self._kinds) > 1

    def restart(self) -> ColumnBuilder:
        """Forget all blocks; return the builder, which keeps the text of a mixed column from now on."""
        self._whole = self._whole or self.is_mixed
        self._chunks.clear()
        self._kinds.clear()
        return self

    def add(self, block: pa.Array) -> None:
        """Add the text of a block, null where a field is empty."""
        import pyarrow as pa

        if self.is_mixed:
            self._chunks.clear()
            return
        text = pa.chunked_array([block])
        typed = text if self._whole else self._typed(text)
        self._chunks.append(typed)
        if typed.null_count < len(typed):
            self._kinds.add(_kind(typed))

    def finish(self) -> pa.ChunkedArray:
        """Return the column.

        Raises
        ------
        DataError: a value is no number.
        """
        import pyarrow as pa

        kind = self._type()
        parts = [part for chunk in self._chunks for part in chunk.cast(kind).chunks]
        self._chunks.clear()
        column = pa.chunked_array(parts, kind)
        return self._reader.from_text(column, strict=self._strict) if kind == pa.string() else column

    def _type(self) -> pa.DataType:
        import pyarrow as pa

        if self._whole or self._kinds <= {"text"}:
            return pa.string()
        if self._kinds == {"truth"}:
            return pa.bool_()
        present = (chunk for chunk in self._chunks if chunk.null_count < len(chunk))
        return pa.float64() if any(pa.types.is_floating(chunk.type) for chunk in present) else pa.int64()

    def _typed(self, text: pa.ChunkedArray) -> pa.ChunkedArray:
        try:
            return self._reader.from_text(text, strict=False)
        except DataError:  # its row is counted in the whole column
            self._kinds |= {"text", "number"}
            return text


def _kind(column: pa.ChunkedArray) -> str:
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        return "truth"
    return "text" if pa.types.is_string(column.type) else "number"
