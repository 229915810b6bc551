"""The rows of a CSV, TSV or Parquet file, part by part; memory does not grow with the number of rows."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.data.delimited import Dialect, check_header, text_blocks
from ratchet.data.encodings import other_encoding
from ratchet.data.text_file import TextFile
from ratchet.errors import DataError, one_line

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_SEPARATORS = (",", ";", "\t", "|")
_HEAD = 1 << 20
# Names that an error shows.
_SHOWN = 3
# Bytes that Arrow reads of a column of Parquet at a time; by default it reads the whole column of a row group.
_BUFFER = 1 << 16


class InputFile(ABC):
    """A file with rows to predict.

    Attributes
    ----------
    path: of the file.
    names: its columns.
    is_text: whether all values are text, which has no types yet.
    separator: of the fields in a line, for an output of the same kind.
    index: the columns that pandas has stored as an index.
    done: the share of the file that was read.
    """

    path: Path
    names: list[str]
    is_text: bool
    separator = ","
    index: tuple[str, ...] = ()
    done = 0.0

    @abstractmethod
    def parts(self, most_rows: int) -> Iterator[pa.Table]:
        """Yield the rows, as tables of at most ``most_rows``.

        Raises
        ------
        DataError: the file has no rows or is damaged, perhaps after some tables.
        """


def check_input(path: Path) -> None:
    """Check that a file can be read.

    Raises
    ------
    DataError: it cannot, or it is of another kind.
    """
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise DataError(f"{path}: expected a file whose name ends with .csv, .tsv or .parquet")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or one_line(error)}") from None


def open_input(path: Path, features: Collection[str], trained: Mapping[str, Any]) -> InputFile:
    """Open a file, and read its columns.

    Parameters
    ----------
    features: columns that the separator of a text file is found by.
    trained: the section ``dataset`` of the model's config, with separator, encoding and names of its own file.

    Raises
    ------
    DataError: it has no header, no feature or two columns of one name, or is not of its kind.
    """
    is_parquet = path.suffix.lower() == ".parquet"
    found = ParquetInput(path) if is_parquet else DelimitedInput(path, features, trained)
    if found.names and not {*found.names} & {*features}:
        where = "" if is_parquet else " in its first line"
        shown = ", ".join(map(repr, found.names[:_SHOWN])), ", ".join(map(repr, [*features][:_SHOWN]))
        raise DataError(f"{path}: expected the names of features{where}, such as {shown[1]}; got {shown[0]}")
    check_header(found.names, path)
    return found


class DelimitedInput(InputFile):
    """A CSV or TSV file."""

    is_text = True

    def __init__(self, path: Path, features: Collection[str], trained: Mapping[str, Any]) -> None:
        self.path, is_csv = path, path.suffix.lower() == ".csv"
        self._file = _WatchedFile(path, _encoding(path, trained.get("encoding", "utf-8")), quotes=is_csv)
        separators = (trained.get("separator", ","), *_SEPARATORS) if is_csv else ("\t",)
        headers = {separator: self._first_line(separator) for separator in separators}
        self.separator = max(headers, key=lambda separator: len({*headers[separator]} & {*features}))
        self.names, given = headers[self.separator], tuple(trained.get("names") or ())
        # A file without a header, as the training file was.
        names = given if len(self.names) == len(given) and not {*self.names} & {*features} else ()
        self.names = list(names) or self.names
        self._dialect = Dialect(self.separator, self._file.encoding, names, quotes=is_csv)

    def parts(self, most_rows: int) -> Iterator[pa.Table]:
        """Yield the rows as text, null where a field is empty."""
        import pyarrow as pa

        try:
            for block in text_blocks(self._file, self.names, self._dialect, self.names):
                self.done = self._file.share_read()
                for first in range(0, block.num_rows, most_rows):
                    yield pa.Table.from_batches([block.slice(first, most_rows)])
        except DataError as error:
            raise DataError(str(error).replace(": set dataset.encoding", ": save it as UTF-8")) from None

    def _first_line(self, separator: str) -> list[str]:
        dialect = Dialect(separator, self._file.encoding, (), quotes=self._file.quotes)
        try:
            with dialect.reader(self._file) as rows:
                return next(filter(None, rows), [])
        except (csv.Error, UnicodeError):  # another separator, or an error that the whole file has too
            return []


class ParquetInput(InputFile):
    """A Parquet file."""

    is_text = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as file:
            schema = file.schema_arrow
        self.names = list(schema.names)
        stored = (schema.pandas_metadata or {}).get("index_columns", ())
        self.index = tuple(name for name in stored if isinstance(name, str))

    def parts(self, most_rows: int) -> Iterator[pa.Table]:
        """Yield the rows in the types of the file."""
        import pyarrow as pa

        read = 0
        try:
            with self._open() as file:
                n_rows = file.metadata.num_rows
                for batch in file.iter_batches(most_rows, use_threads=False):
                    read += batch.num_rows
                    self.done = read / n_rows
                    yield pa.Table.from_batches([batch])
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.path}: not a readable Parquet file: {one_line(error)}") from None
        if not read:
            raise DataError(f"{self.path}: has columns but no rows")

    def _open(self) -> pq.ParquetFile:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False)
        except pa.ArrowException as error:
            raise DataError(f"{self.path}: not a readable Parquet file: {one_line(error)}") from None


class _WatchedFile(TextFile):
    """A text file that knows how far Arrow has read it."""

    _stream: pa.NativeFile | None = None

    def open_for_arrow(self) -> pa.NativeFile:
        self._stream = super().open_for_arrow()
        return self._stream

    def share_read(self) -> float:
        return self._stream.tell() / max(1, self._size) if self._stream else 0.0

    @cached_property
    def _size(self) -> int:
        with super().open() as stream:
            return stream.seek(0, 2)


def _encoding(path: Path, trained: str) -> str:
    """Return the encoding of a text file: UTF-8 or UTF-16, which are recognised, else that of the training file.

    Raises
    ------
    DataError: it is none of them.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    other = other_encoding(head[: head.rfind(b"\n") + 1] or head, "utf-8")
    if other is None or other.startswith("utf-16"):
        return other or "utf-8"
    if other_encoding(b"", trained) is None and not trained.lower().startswith("utf"):
        return trained
    raise DataError(f"{path}: expected UTF-8, got another encoding, probably {other}: save it as UTF-8")
