"""Files of lines and separators: looked at whole before pandas reads them, since it mends in silence."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.config import Delimited, Timestamp
from ratchet.data.encodings import encoding_of
from ratchet.errors import DataError, nearest

_SEPARATORS = {",": '","', ";": '";"', "\t": r'"\t"', "|": '"|"'}
# So many lines show which separator a file has.
_SAMPLE = 20


@dataclass(frozen=True)
class Dialect:
    """How the lines of a file are written.

    Attributes
    ----------
    separator: one character.
    encoding: as Python names it.
    names: the columns; empty where the first line has them.
    quotes: whether quotation marks hold a field together.
    """

    separator: str
    encoding: str
    names: tuple[str, ...]
    quotes: bool

    @classmethod
    def of(cls, config: Delimited, separator: str, *, quotes: bool) -> Dialect:
        """What a config says, and what its format says."""
        return cls(separator, config.encoding, config.names, quotes)

    @property
    def quoting(self) -> Any:
        """What the module csv and pandas call it."""
        return csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE

    @property
    def codec(self) -> str:
        """The encoding that reads it: a byte order mark is no part of UTF-8 text."""
        return "utf-8-sig" if self.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else self.encoding


def read_delimited(path: Path, dialect: Dialect, timestamp: Timestamp | None = None) -> pd.DataFrame:
    """The rows; empty fields and pandas' markers (NA, NaN, null, None) are missing values.

    Parameters
    ----------
    path: the file.
    dialect: how its lines are written.
    timestamp: two columns that become one time; None where there are none.

    Raises
    ------
    DataError: no header, duplicate columns, no rows, a ragged row, another separator, or bytes that are not in the
        encoding.
    """
    _check_shape(path, dialect)
    frame = pd.read_csv(
        path,
        sep=dialect.separator,
        encoding=dialect.codec,
        quoting=dialect.quoting,
        header=None if dialect.names else 0,
        names=list(dialect.names) or None,
        index_col=False,
        skip_blank_lines=True,
        low_memory=False,
        float_precision="round_trip",
    )
    return frame if timestamp is None else with_time(frame, timestamp)


def with_time(frame: pd.DataFrame, timestamp: Timestamp) -> pd.DataFrame:
    """A frame with one column of time in place of two, the date and the hour.

    Raises
    ------
    DataError: a column is not there, or holds no date or no hour.
    """
    known = [str(column) for column in frame.columns]
    for name in (timestamp.date, timestamp.hour):
        if name not in known:
            raise DataError(f"dataset.timestamp: there is no column {name!r}{nearest(name, known)}")
    rest = frame.drop(columns=[timestamp.date, timestamp.hour])
    if timestamp.column in rest.columns:
        raise DataError(f"dataset.timestamp.column: there is a column {timestamp.column!r} already; name another")
    hours = pd.to_numeric(frame[timestamp.hour], errors="coerce")
    dates = pd.to_datetime(frame[timestamp.date], format="ISO8601", errors="coerce")
    for name, wrong in {timestamp.hour: ~hours.between(0, 23), timestamp.date: dates.isna()}.items():
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            what = "an hour from 0 to 23" if name == timestamp.hour else "a date such as 2026-01-31"
            raise DataError(f"column {name!r}: expected {what}, got {frame[name].tolist()[row]!r} in row {row + 1}")
    times = (dates + pd.to_timedelta(hours, unit="h")).dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object)
    rest.insert(0, timestamp.column, times)
    return rest


def check_header(header: list[str], path: Path) -> None:
    """Show that a file has columns, each once.

    Raises
    ------
    DataError: it has none, or two of one name.
    """
    if not header:
        raise DataError(f"{path}: is empty, expected a header and rows")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path}: the column {twice[0]!r} stands {header.count(twice[0])} times in the header")


def _check_shape(path: Path, dialect: Dialect) -> None:
    """Look at every row first: pandas would fill a short row with missing values and say nothing."""
    with _rows(path, dialect) as rows:
        first: list[str] = next(rows, [])
        header = list(dialect.names) or first
        check_header(first, path)
        if len(first) == 1:
            _check_separator(first[0], path, dialect)
        empty = not dialect.names
        if dialect.names and len(first) != len(header):
            raise DataError(f"{path}: dataset.names has {len(header)} names, and line 1 has {len(first)} fields")
        for row in rows:
            if row and len(row) != len(header):
                raise DataError(
                    f"{path}, line {rows.line_num}: expected {len(header)} fields, got {len(row)}: {row[:6]}"
                    + _hint(path, dialect)
                )
            empty = empty and not row
    if empty:
        raise DataError(f"{path}: has a header but no rows")


@contextmanager
def _rows(path: Path, dialect: Dialect) -> Iterator[Any]:
    """A reader of all lines; what goes wrong on the way is told by line."""
    reader: Any = None
    try:
        found = encoding_of(path, dialect.encoding)
        if found is not None:
            raise DataError(f"{path}: not readable as {dialect.encoding}, it looks like {found}: set dataset.encoding")
        with path.open(encoding=dialect.codec, newline="") as file:
            reader = csv.reader(file, delimiter=dialect.separator, quoting=dialect.quoting, strict=True)
            yield reader
    except (UnicodeError, LookupError) as error:
        raise DataError(f"{path}: not readable as {dialect.encoding} ({error}): set dataset.encoding") from None
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    except OSError as error:
        raise DataError(f"dataset.path {path}: {error.strerror}") from None


def _check_separator(line: str, path: Path, dialect: Dialect) -> None:
    looks = _separator_of(path, dialect)
    if looks is not None:
        what = "the first line has one field" if dialect.names else "the header has one column"
        raise DataError(f"{path}: {what}, {line!r}: set dataset.separator; it looks separated by {_SEPARATORS[looks]}")


def _hint(path: Path, dialect: Dialect) -> str:
    looks = _separator_of(path, dialect)
    return "" if looks is None else f"; it looks separated by {_SEPARATORS[looks]}: set dataset.separator"


def _separator_of(path: Path, dialect: Dialect) -> str | None:
    """Another separator that gives the first lines one number of fields, two at least; None where none does."""
    with path.open(encoding=dialect.codec, newline="") as file:
        lines = [line for line in islice(file, _SAMPLE) if line.strip()]
    found = {}
    for separator in _SEPARATORS.keys() - {dialect.separator}:
        counts = {len(row) for row in csv.reader(lines, delimiter=separator, quoting=dialect.quoting) if row}
        if len(counts) == 1:
            found[separator] = counts.pop()
    best = max(found, key=lambda separator: found[separator], default=None)
    return best if best is not None and found[best] > 1 else None
