"""The file that predictions are written to: CSV, TSV or Parquet, complete or not there."""

from __future__ import annotations

import fcntl
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ratchet.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Parquet is read fast in groups of this many rows; a part of the input has fewer.
_GROUP_ROWS = 100_000


def check_output(path: Path) -> None:
    """Check that a file can be written, before the work is done.

    Raises
    ------
    DataError: it is of another kind, a folder, read-only or locked, or its folder does not exist.
    """
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise DataError(f"{path}: expected a file whose name ends with .csv, .tsv or .parquet")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}")
    if not path.exists():
        return
    if not path.is_file():
        raise DataError(f"{path}: is no file that can be replaced: choose another name")
    if not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise DataError(f"{path}: is read-only: make it writable, or choose another name")
    _require_unlocked(path)


def _require_unlocked(path: Path) -> None:
    try:
        with path.open("r+b") as file:
            for lock in (fcntl.flock, fcntl.lockf):  # two kinds, of which neither sees the other
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataError(f"{path}: is locked by another process: close it there, or choose another name") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


@contextmanager
def writing(partial: Path, kind: str, separator: str) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that writes rows to a path; all calls have the same columns.

    Parameters
    ----------
    kind: ``.csv``, ``.tsv`` or ``.parquet``.
    separator: of the fields of CSV.
    """
    if kind == ".parquet":
        with closing(_ParquetOutput(partial)) as parquet:
            yield parquet.write
        return
    with partial.open("wb") as file:
        yield _DelimitedOutput(file, "\t" if kind == ".tsv" else separator, quotes=kind == ".csv").write


class _ParquetOutput:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._writer:
            self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, self._waiting[0].schema)
        self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting.clear()


class _DelimitedOutput:
    """Text in UTF-8; a missing value is an empty field.

    The lines are joined by Arrow: its own writer encloses every text in quotation marks.
    """

    def __init__(self, file: BinaryIO, separator: str, *, quotes: bool) -> None:
        self._file, self._separator, self._quotes = file, separator, quotes
        self._has_header = False

    def write(self, rows: pa.Table) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._has_header:
            self._has_header = True
            self.write(pa.table([[name] for name in rows.column_names], names=rows.column_names))
        fields = [self._field(name, rows.column(name)) for name in rows.column_names]
        options = {"null_handling": "replace", "null_replacement": ""}
        lines = pc.binary_join_element_wise(*fields, self._separator, **options)
        for chunk in pc.binary_join_element_wise(lines, "", "\n").chunks:
            ends = pa.Array.from_buffers(pa.int32(), len(chunk) + 1, [None, chunk.buffers()[1]], offset=chunk.offset)
            self._file.write(memoryview(chunk.buffers()[2])[ends[0].as_py() : ends[-1].as_py()])

    def _field(self, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the text of values, with quotation marks where it needs them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            text = values.cast(pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            raise DataError(
                f"column {name!r}: {values.type} is no type of a text file: write a .parquet file"
            ) from None
        special = pc.match_substring_regex(text, f'["\r\n{self._separator}]')
        if not pc.any(special).as_py():
            return text
        if not self._quotes:
            raise DataError(f"column {name!r}: has a tab, a quotation mark or a line break: write a .csv file")
        doubled = pc.replace_substring(text, '"', '""')
        return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), text)
