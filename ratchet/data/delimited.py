"""CSV and TSV files: parsed as text by pyarrow, then typed column by column by its reader.

The line and the likely cause of an error are determined after a failure, by the module csv, which is slower.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ratchet.config import BaseDataset, Timestamp
from ratchet.data.column_reader import ColumnReader, rule_of
from ratchet.data.columns import require_columns
from ratchet.data.encodings import other_encoding
from ratchet.errors import DataError, one_line

if TYPE_CHECKING:
    import pyarrow as pa

_SEPARATORS = {",": '","', ";": '";"', "\t": r'"\t"', "|": '"|"'}
# Lines that are compared to find the separator of a file.
_SAMPLE = 20
# The longest row, in bytes.
_BLOCK = 16 << 20
# The module csv refuses more than 131,072 characters by default.
_LONGEST_FIELD = _BLOCK


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

    def reader(self, content: bytes, separator: str | None = None) -> Any:
        """Return a reader of the rows of UTF-8 text, which counts lines and refuses misplaced quotation marks."""
        csv.field_size_limit(_LONGEST_FIELD)
        lines = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
        quoting: Any = csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE
        return csv.reader(lines, delimiter=separator or self.separator, quoting=quoting, strict=separator is None)


def read_delimited(path: Path, dialect: Dialect, config: BaseDataset, most: int | None = None) -> pd.DataFrame:
    """Return the rows of a file, each column typed by its ``ColumnReader``; an empty field is a missing value.

    Parameters
    ----------
    config: the rules of the columns. Columns that it drops, and the target, are text where a value is no number.
    most: read the lines in the first bytes alone, so many of them; None reads all.

    Raises
    ------
    DataError: no header, duplicate columns, no rows, a row with another number of fields, another separator, bytes
        that are not in the encoding, or a value that is no number in a column of numbers.
    """
    content = _utf8(path, dialect, most)
    header = _header(content, path, dialect)
    timestamp = getattr(config, "timestamp", None)
    lenient = {*config.drop, config.target, *((timestamp.date, timestamp.hour) if timestamp else ())}
    table = _parse(content, header, path, dialect)
    columns = {
        name: ColumnReader(name, rule_of(config, name)).from_text(table[name], strict=name not in lenient)
        for name in header
    }
    import pyarrow as pa

    frame: pd.DataFrame = pa.table(columns).to_pandas()
    return frame if timestamp is None else _with_time(frame, timestamp)


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


def _utf8(path: Path, dialect: Dialect, most: int | None) -> bytes:
    """Return the content of a text file in UTF-8 without a byte order mark."""
    encoding = dialect.encoding
    try:
        content = path.read_bytes() if most is None else _first_lines(path, dialect, most)
        other = other_encoding(content, encoding)
        if other is None:
            return content.decode(encoding).encode().removeprefix(codecs.BOM_UTF8)
    except (UnicodeError, LookupError) as error:
        raise DataError(f"{path}: not readable as {encoding} ({error}): set dataset.encoding") from None
    except OSError as error:
        raise DataError(f"dataset.path {path}: {error.strerror}") from None
    raise DataError(f"{path}: not readable as {encoding}, probably {other}: set dataset.encoding")


def _first_lines(path: Path, dialect: Dialect, most: int) -> bytes:
    """Return the lines in the first bytes of a file, up to one that ends outside quotation marks.

    A file in UTF-16 or UTF-32, where a byte of a line's end can be part of a letter, is read whole.
    """
    if codecs.lookup(dialect.encoding).name.startswith(("utf-16", "utf-32")):
        return path.read_bytes()
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) <= most:
        return content
    end = content.rfind(b"\n", 0, most)
    while dialect.quotes and end >= 0 and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end)
    return content[: end + 1] or path.read_bytes()


def _header(content: bytes, path: Path, dialect: Dialect) -> list[str]:
    rows = dialect.reader(content)
    try:
        first: list[str] = next(filter(None, rows), [])
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: {error}") from None
    header = list(dialect.names) or first
    check_header(header if first else [], path)
    if not dialect.separator.isascii():
        raise DataError(f"dataset.separator: expected an ASCII character, got {dialect.separator!r}")
    hint = _separator_hint(content, dialect) if len(first) == 1 else ""
    if hint:
        found = "the first line has one field" if dialect.names else "the header has one column"
        raise DataError(f"{path}: {found}, {first[0]!r}{hint}")
    if len(first) != len(header):
        raise DataError(f"{path}: dataset.names has {len(header)} names, and line 1 has {len(first)} fields")
    return header


def _parse(content: bytes, header: list[str], path: Path, dialect: Dialect) -> pa.Table:
    """Return the columns as text, null where a value is missing."""
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content),
            read_options=pa_csv.ReadOptions(column_names=dialect.names, block_size=_BLOCK),
            parse_options=pa_csv.ParseOptions(
                delimiter=dialect.separator,
                quote_char='"' if dialect.quotes else False,
                newlines_in_values=dialect.quotes,
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        _check_rows(content, header, path, dialect)
        raise DataError(f"{path}: {one_line(error)}") from None
    if not table.num_rows:
        raise DataError(f"{path}: has a header but no rows")
    if dialect.quotes and not _quotes_enclose_fields(content, dialect.separator):
        _check_rows(content, header, path, dialect)
    return table


def _quotes_enclose_fields(content: bytes, separator: str) -> bool:
    """Whether each odd quotation mark begins a field, or follows its twin, and each even one ends a field.

    pyarrow accepts other marks: inside a field, and without a counterpart, where the rest of the file is one value.
    """
    if b'"' not in content:
        return True
    data = np.frombuffer(b"\n%b\n" % content, dtype=np.uint8)
    marks = np.flatnonzero(data == ord('"'))
    is_edge = np.isin(np.arange(256), list(b'"\r\n' + separator.encode()))
    return bool(len(marks) % 2 == 0 and is_edge[data[marks[::2] - 1]].all() and is_edge[data[marks[1::2] + 1]].all())


def _check_rows(content: bytes, header: list[str], path: Path, dialect: Dialect) -> None:
    """Raise an error for the first row that has another number of fields than the header, or a misplaced quote."""
    rows = dialect.reader(content)
    try:
        for row in filter(None, rows):
            if len(row) != len(header):
                expected = f"expected {len(header)} fields, got {len(row)}: {row[:6]}"
                raise DataError(f"{path}, line {rows.line_num}: {expected}{_separator_hint(content, dialect)}")
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: {error}") from None


def _separator_hint(content: bytes, dialect: Dialect) -> str:
    """Return the hint for a separator that divides the first lines into the same number of fields, two at least."""
    fields = {}
    for separator, shown in _SEPARATORS.items():
        counts = {len(row) for row in islice(filter(None, dialect.reader(content, separator)), _SAMPLE)}
        if separator != dialect.separator and len(counts) == 1:
            fields[shown] = counts.pop()
    best = max(fields, key=lambda shown: fields[shown], default="")
    return f"; set dataset.separator, probably to {best}" if fields.get(best, 0) > 1 else ""
