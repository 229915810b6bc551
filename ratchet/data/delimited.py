"""CSV and TSV files: parsed as text by pyarrow, then typed column by column by its reader.

The line and the likely cause of an error are determined after a failure, by the module csv, which is slower.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pandas as pd

from ratchet.config import BaseDataset, Timestamp
from ratchet.data.column_builder import ColumnBuilder
from ratchet.data.column_reader import ColumnReader, rule_of
from ratchet.data.columns import require_columns
from ratchet.data.text_file import TextFile
from ratchet.errors import DataError, one_line

if TYPE_CHECKING:
    import pyarrow as pa

_SEPARATORS = {",": '","', ";": '";"', "\t": r'"\t"', "|": '"|"'}
# Lines that are compared to find the separator of a file.
_SAMPLE = 20
# Bytes of a file that are parsed at a time. A row may not be longer; the second size is for a file that has such a row.
_BLOCKS = (1 << 20, 16 << 20)
# The module csv refuses more than 131,072 characters by default.
_LONGEST_FIELD = _BLOCKS[-1]


@dataclass(frozen=True)
class Dialect:
    """The format of a delimited file.

    Attributes
    ----------
    separator: one character.
    encoding: a name of Python's codecs.
    names: the columns; empty where the first line has them.
    quotes: whether quotation marks enclose a field.
    """

    separator: str
    encoding: str
    names: tuple[str, ...]
    quotes: bool

    @contextmanager
    def reader(self, file: TextFile, separator: str | None = None) -> Iterator[Any]:
        """Open a reader of the rows of a file, which counts lines and refuses misplaced quotation marks."""
        csv.field_size_limit(_LONGEST_FIELD)
        quoting: Any = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        with io.TextIOWrapper(file.open(), encoding="utf-8", newline="") as lines:
            yield csv.reader(lines, delimiter=separator or self.separator, quoting=quoting, strict=separator is None)


def read_delimited(path: Path, dialect: Dialect, config: BaseDataset, most: int | None = None) -> pd.DataFrame:
    """Return the rows of a file, each column typed by its ``ColumnReader``; an empty field is a missing value.

    The file is read block by block, so that memory holds the text of one block and of columns that are text.

    Parameters
    ----------
    config: the rules of the columns. Columns that it drops, and the target, are text where a value is no number.
    most: read the lines in the first bytes alone, so many of them; None reads all.

    Raises
    ------
    DataError: no header, duplicate columns, no rows, a row with another number of fields, another separator, bytes
        that are not in the encoding, or a value that is no number in a column of numbers.
    """
    import pyarrow as pa

    file = TextFile(path, dialect.encoding, most, quotes=dialect.quotes)
    header = _header(file, dialect)
    timestamp = getattr(config, "timestamp", None)
    lenient = {*config.drop, config.target, *((timestamp.date, timestamp.hour) if timestamp else ())}
    builders = {
        name: ColumnBuilder(ColumnReader(name, rule_of(config, name)), strict=name not in lenient) for name in header
    }
    _fill(builders, text_blocks(file, header, dialect, list(builders)))
    mixed = {name: builder.restart() for name, builder in builders.items() if builder.is_mixed}
    if mixed:
        _fill(mixed, text_blocks(file, header, dialect, list(mixed)))
    columns = {}
    for name in header:  # one column at a time, so that memory has no second copy of all
        columns[name] = builders.pop(name).finish().to_pandas()
        pa.default_memory_pool().release_unused()
    frame = pd.DataFrame(columns, copy=False)
    return frame if timestamp is None else _with_time(frame, timestamp)


def _fill(builders: Mapping[str, ColumnBuilder], blocks: Iterable[pa.RecordBatch]) -> None:
    for block in blocks:
        for name, builder in builders.items():
            builder.add(block.column(name))


def check_header(header: list[str], path: Path) -> None:
    """Check that a file has columns, each with a name of its own.

    Raises
    ------
    DataError: it has none, or two of one name.
    """
    if not header:
        raise DataError(f"{path}: is empty, expected a header and rows")
    name, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise DataError(f"{path}: the column {name!r} is {count} times in the header")


def _with_time(frame: pd.DataFrame, timestamp: Timestamp) -> pd.DataFrame:
    """Replace the columns of date and hour by one column of times, the first one."""
    require_columns(frame.columns, [timestamp.date, timestamp.hour], "timestamp")
    rest = frame.drop(columns=[timestamp.date, timestamp.hour])
    if timestamp.column in rest.columns:
        raise DataError(
            f"dataset.timestamp.column: there is a column {timestamp.column!r} already; choose another name"
        )
    hours = pd.to_numeric(frame[timestamp.hour], errors="coerce")
    dates = pd.to_datetime(frame[timestamp.date], format="ISO8601", errors="coerce")
    invalid = {
        timestamp.hour: (~hours.between(0, 23), "an hour from 0 to 23"),
        timestamp.date: (dates.isna(), "a date such as 2026-01-31"),
    }
    for name, (wrong, expected) in invalid.items():
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise DataError(f"column {name!r}: expected {expected}, got {frame[name].tolist()[row]!r} in row {row + 1}")
    times = (dates + pd.to_timedelta(hours, unit="h")).dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object)
    rest.insert(0, timestamp.column, times)
    return rest


def _header(file: TextFile, dialect: Dialect) -> list[str]:
    path = file.path
    with dialect.reader(file) as rows:
        try:
            first: list[str] = next(filter(None, rows), [])
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from None
        except UnicodeError:
            file.refuse_encoding()
            raise
    header = list(dialect.names) or first
    check_header(header if first else [], path)
    if not dialect.separator.isascii():
        raise DataError(f"dataset.separator: expected an ASCII character, got {dialect.separator!r}")
    hint = _separator_hint(file, dialect) if len(first) == 1 else ""
    if hint:
        found = "the first line has one field" if dialect.names else "the header has one column"
        raise DataError(f"{path}: {found}, {first[0]!r}{hint}")
    if len(first) != len(header):
        raise DataError(f"{path}: dataset.names has {len(header)} names, and line 1 has {len(first)} fields")
    return header


def text_blocks(
    file: TextFile, header: list[str], dialect: Dialect, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield some columns of a file as text, null where a field is empty, block by block.

    Raises
    ------
    DataError: as for ``read_delimited``, without the types; perhaps after some blocks.
    """
    import pyarrow as pa

    count = 0
    for size in _BLOCKS:
        try:
            for block in _parsed(file, header, dialect, columns, size, count):
                count += block.num_rows
                yield block
            break
        except pa.ArrowInvalid as error:
            if "block size" not in str(error) or size == _BLOCKS[-1]:
                _refuse(file, header, dialect, error)
    if not count:
        raise DataError(f"{file.path}: has a header but no rows")
    if dialect.quotes and not _quotes_enclose_fields(file, dialect.separator):
        _check_rows(file, header, dialect)


def _parsed(
    file: TextFile, header: list[str], dialect: Dialect, columns: Sequence[str], size: int, skip: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows after the first ``skip``, in blocks of ``size`` bytes, which no row may exceed."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    with (
        file.open_for_arrow() as stream,
        pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(
                column_names=dialect.names, block_size=size, use_threads=False, skip_rows_after_names=skip
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=dialect.separator,
                quote_char='"' if dialect.quotes else False,
                newlines_in_values=dialect.quotes,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=list(columns),
                null_values=[""],
                strings_can_be_null=True,
            ),
        ) as blocks,
    ):
        yield from blocks


def _quotes_enclose_fields(file: TextFile, separator: str) -> bool:
    """Whether each odd quotation mark begins a field, or follows its twin, and each even one ends a field.

    pyarrow accepts other marks: inside a field, and without a counterpart, where the rest of the file is one value.
    """
    is_edge = np.isin(np.arange(256), list(b'"\r\n' + separator.encode()))
    count, before = 0, b"\n"
    with file.open() as stream:
        content = stream.read(_BLOCKS[0])
        while content:
            after = stream.read(_BLOCKS[0])
            if b'"' in content:
                data = np.frombuffer(before + content + (after[:1] or b"\n"), dtype=np.uint8)
                marks = np.flatnonzero(data[1:-1] == ord('"')) + 1
                opens, closes = marks[count % 2 :: 2], marks[1 - count % 2 :: 2]
                if not (is_edge[data[opens - 1]].all() and is_edge[data[closes + 1]].all()):
                    return False
                count += len(marks)
            before, content = content[-1:], after
    return count % 2 == 0


def _refuse(file: TextFile, header: list[str], dialect: Dialect, error: Exception) -> NoReturn:
    """Raise an error for another encoding, a row with other fields or a misplaced quote, else the parser's own."""
    file.refuse_encoding()
    _check_rows(file, header, dialect)
    raise DataError(f"{file.path}: {one_line(error)}") from None


def _check_rows(file: TextFile, header: list[str], dialect: Dialect) -> None:
    """Raise an error for the first row that has another number of fields than the header, or a misplaced quote."""
    with dialect.reader(file) as rows:
        try:
            for row in filter(None, rows):
                if len(row) != len(header):
                    expected = f"expected {len(header)} fields, got {len(row)}: {row[:6]}"
                    hint = _separator_hint(file, dialect)
                    raise DataError(f"{file.path}, line {rows.line_num}: {expected}{hint}")
        except csv.Error as error:
            raise DataError(f"{file.path}, line {rows.line_num}: {error}") from None


def _separator_hint(file: TextFile, dialect: Dialect) -> str:
    """Return the hint for a separator that divides the first lines into the same number of fields, two at least."""
    others = {found: count for found, count in even_separators(file, dialect).items() if found != dialect.separator}
    best = max(others, key=lambda found: others[found], default="")
    return f"; set dataset.separator, probably to {_SEPARATORS[best]}" if others.get(best, 0) > 1 else ""


def even_separators(file: TextFile, dialect: Dialect) -> dict[str, int]:
    """Return each usual separator that divides the first lines into the same number of fields, and the number."""
    even = {}
    for separator in _SEPARATORS:
        with dialect.reader(file, separator) as rows:
            counts = {len(row) for row in islice(filter(None, rows), _SAMPLE)}
        if len(counts) == 1:
            even[separator] = counts.pop()
    return even
