"""The rows of a file that are looked at: all of a small file, and the head and pieces of a large one.

The bytes that are read do not depend on the size of the file.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ratchet.data.delimited import Dialect, check_header, even_separators
from ratchet.data.encodings import other_encoding
from ratchet.data.text_file import TextFile
from ratchet.errors import DataError, one_line
from ratchet.nearest_names import nearest

# The bytes of a text file that are looked at: its head, and pieces at equal distances up to its end.
_HEAD, _PIECE, _PIECES = 4 << 20, 512 << 10, 7
MOST_BYTES = _HEAD + _PIECES * _PIECE
# The rows of a Parquet file that are looked at: some of the first rows of row groups at equal distances.
_GROUP_ROWS, _GROUPS = 6_000, 8
_SOURCES = {
    **dict.fromkeys((".csv", ".txt", ".data"), "csv"),
    **dict.fromkeys((".tsv", ".tab"), "tsv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}


@dataclass(frozen=True)
class FileSample:
    """The rows of a file that are looked at, as a file.

    Attributes
    ----------
    path: of the file itself.
    rows_at: the file with the rows that are looked at; ``path`` where it is small.
    header: the columns.
    keys: the keys of ``dataset`` that read the file: source, separator and encoding.
    n_rows: rows of the whole file, where the file has their number.
    nested: columns of lists or structures, which no model takes.
    share: the share of the bytes of the file that are looked at, 1 for all.
    """

    path: Path
    rows_at: Path
    header: list[str]
    keys: dict[str, Any]
    n_rows: int | None = None
    share: float = 1.0
    nested: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all rows are looked at."""
        return self.rows_at == self.path

    def keys_of_rows(self, dataset: dict[str, Any]) -> dict[str, Any]:
        """Return a ``dataset`` section that reads the rows that are looked at."""
        return {**dataset, "path": str(self.rows_at)}


@contextmanager
def open_sample(path: Path) -> Iterator[FileSample]:
    """Open the rows of a file that are looked at; errors inside the block name the file itself.

    Raises
    ------
    DataError: the file cannot be read, is of another kind, or has no header.
    """
    source = _SOURCES.get(path.suffix.lower())
    if source is None:
        known = ", ".join(_SOURCES)
        raise DataError(f"{path}: expected a file that ends in {known}; unpack or export it as one of these")
    with tempfile.TemporaryDirectory(prefix="ratchet-init-") as folder:
        try:
            if not path.is_file():
                raise DataError(f"{path}: {'is a folder, expected a file' if path.is_dir() else 'no such file'}")
            size = path.stat().st_size
            if source == "parquet":
                sample = _sample_of_parquet(path, Path(folder))
            else:
                at = path if size <= MOST_BYTES else _write_pieces(path, size, Path(folder), quotes=source == "csv")
                sample = _sample_of_text(path, at, source, at.stat().st_size / max(size, 1))
            _check_names(sample)
            yield sample
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
        except DataError as error:
            raise _naming(path, Path(folder), error) from None


def _naming(path: Path, folder: Path, error: DataError) -> DataError:
    """Return an error that names the file and not its sample, whose rows have other numbers."""
    text = str(error).replace(str(folder / path.name), str(path))
    text = text.replace("): set dataset.encoding", "): save it as UTF-8 text")
    is_counted = any(folder.iterdir()) and re.search(r"\b(row|line) \d", text)
    return DataError(f"{text} (counted in the part of the file that init looks at)" if is_counted else text)


def _sample_of_text(path: Path, at: Path, source: str, share: float) -> FileSample:
    content = at.read_bytes()
    encoding = other_encoding(content, "utf-8") or "utf-8"
    dialect = Dialect("\t" if source == "tsv" else ",", encoding, (), quotes=source == "csv")
    file = TextFile(at, encoding, quotes=dialect.quotes)
    keys: dict[str, Any] = {"source": source, "path": path.as_posix()}
    if source == "csv":
        even = {separator: count for separator, count in even_separators(file, dialect).items() if count > 1}
        best = max(even, key=lambda separator: (even[separator], separator == ","), default=",")
        dialect = Dialect(best, encoding, (), quotes=True)
        keys |= {} if best == "," else {"separator": best}
    keys |= {} if encoding == "utf-8" else {"encoding": encoding}
    header: list[str] = []
    with dialect.reader(file) as rows:
        try:
            header = next(filter(None, rows), [])
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from None
        except UnicodeError:
            file.refuse_encoding()
            raise
    return FileSample(path, at, header, keys, share=min(share, 1.0))


def _check_names(sample: FileSample) -> None:
    check_header(sample.header, sample.path)
    for name in sample.header:
        if name != name.strip():
            raise DataError(f"{sample.path}: the column name {name!r} begins or ends with a blank: remove it there")


def _write_pieces(path: Path, size: int, folder: Path, *, quotes: bool) -> Path:
    """Write the first lines of a text file and lines from its other parts into a file of ``MOST_BYTES`` at most."""
    target = folder / path.name
    with path.open("rb") as file, target.open("wb") as lines:
        head = _whole_lines(file.read(_HEAD), path, quotes=quotes)
        lines.write(head)
        fields = _field_counts(head)
        for number in range(1, _PIECES + 1):
            file.seek(_HEAD + (size - _HEAD - _PIECE) * number // _PIECES)
            piece = file.read(_PIECE)
            piece = piece[piece.find(b"\n") + 1 :]
            piece = piece if piece.endswith(b"\n") else piece[: piece.rfind(b"\n") + 1]
            if piece and b"\0" not in piece and _field_counts(piece) == fields:
                lines.write(piece)
    return target


def _whole_lines(head: bytes, path: Path, *, quotes: bool) -> bytes:
    """Return the lines of a head up to one that ends outside quotation marks."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in head:
        raise DataError(f"{path}: a file of more than {MOST_BYTES >> 20} MB is read as UTF-8: save it as that")
    end = head.rfind(b"\n")
    while quotes and end >= 0 and head.count(b'"', 0, end) % 2:
        end = head.rfind(b"\n", 0, end)
    if end < 0:
        raise DataError(f"{path}: the first line does not end within {_HEAD >> 20} MB: expected a header and rows")
    return head[: end + 1]


def _field_counts(lines: bytes) -> dict[str, set[int]]:
    """Return the numbers of fields of rows by separator, where all rows have the same."""
    text = lines.decode("latin-1")  # takes any byte, and has the separators of all encodings that ASCII is a part of
    counts = {}
    for separator in (",", ";", "\t", "|"):
        try:
            rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
            counts[separator] = {len(row) for row in rows if row}
        except csv.Error:
            continue
    return {separator: count for separator, count in counts.items() if len(count) == 1}


def _sample_of_parquet(path: Path, folder: Path) -> FileSample:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as file:
            n_rows, n_groups, schema = file.metadata.num_rows, file.num_row_groups, file.schema_arrow
            at = path
            if n_rows > _GROUP_ROWS * _GROUPS:
                at = folder / path.name
                places = sorted({n_groups * number // _GROUPS for number in range(_GROUPS)})
                each = _GROUP_ROWS * _GROUPS // len(places)
                batches = [next(file.iter_batches(each, row_groups=[place])) for place in places]
                pq.write_table(pa.Table.from_batches(batches, schema), at)
    except (pa.ArrowInvalid, StopIteration) as error:
        raise DataError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    index = [name for name in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(name, str)]
    header = [name for name in schema.names if name not in index]
    keys = {"source": "parquet", "path": path.as_posix()}
    share = 1.0 if at == path else min(1.0, sum(len(batch) for batch in batches) / n_rows)
    nested = tuple(name for name in header if pa.types.is_nested(schema.field(name).type))
    return FileSample(path, at, header, keys, n_rows, share, nested)


def require_target(sample: FileSample, target: str | None) -> str:
    """Return the target.

    Raises
    ------
    DataError: it is not given, or the file has no such column; the message names the columns.
    """
    if target is None:
        shown = ", ".join(map(repr, itertools.islice(sample.header, 12)))
        more = f" and {len(sample.header) - 12} more" if len(sample.header) > 12 else ""
        raise DataError(f"--target is missing: name the column to predict; {sample.path} has {shown}{more}")
    if target not in sample.header:
        raise DataError(f"--target: {sample.path} has no column {target!r}{nearest(target, sample.header)}")
    return target
