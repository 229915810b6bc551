"""Data sets in files of one's own: CSV and Parquet."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pandas as pd

from ratchet.config import CsvDataset, ParquetDataset
from ratchet.errors import DataError

_BLOCK = 1 << 20


def file_version(path: Path) -> str:
    """The MD5 of a file's bytes: the hash DVC gives it.

    Raises
    ------
    DataError: the file cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise DataError(f"dataset.path {path}: {error.strerror}") from None
    return digest.hexdigest()


class CsvSource:
    """A CSV file with a header; every row must have as many fields as the header."""

    def __init__(self, config: CsvDataset) -> None:
        self._config = config

    def version(self) -> str:
        """The MD5 of the file."""
        return file_version(self._config.path)

    def read(self) -> pd.DataFrame:
        """The rows; empty fields and pandas' markers (NA, NaN, null, None) are missing values.

        Raises
        ------
        DataError: no header, duplicate columns, no rows, a ragged row, or bytes that are not in the encoding.
        """
        self._check_shape()
        return pd.read_csv(
            self._config.path,
            sep=self._config.separator,
            encoding=self._config.encoding,
            skip_blank_lines=True,
            float_precision="round_trip",
        )

    def _check_shape(self) -> None:
        """Look at every row first: pandas would fill a short row with missing values and say nothing."""
        path = self._config.path
        try:
            with path.open(encoding=self._config.encoding, newline="") as file:
                rows = csv.reader(file, delimiter=self._config.separator, strict=True)
                header = next(rows, [])
                _check_header(header, path)
                empty = True
                for row in rows:
                    if row and len(row) != len(header):
                        raise DataError(
                            f"{path}, line {rows.line_num}: expected {len(header)} fields, got {len(row)}: {row[:6]}"
                        )
                    empty = empty and not row
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(
                f"{path}: not readable as {self._config.encoding} ({error}): set dataset.encoding"
            ) from None
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: {error}") from None
        except OSError as error:
            raise DataError(f"dataset.path {path}: {error.strerror}") from None
        if empty:
            raise DataError(f"{path}: has a header but no rows")


class ParquetSource:
    """A Parquet file."""

    def __init__(self, config: ParquetDataset) -> None:
        self._config = config

    def version(self) -> str:
        """The MD5 of the file."""
        return file_version(self._config.path)

    def read(self) -> pd.DataFrame:
        """All rows.

        Raises
        ------
        DataError: the file is not Parquet, has duplicate columns, or no rows.
        """
        path = self._config.path
        try:
            frame = pd.read_parquet(path)
        except OSError as error:
            raise DataError(f"dataset.path {path}: {error.strerror or error}") from None
        except ValueError as error:  # pyarrow's ArrowInvalid, which is a ValueError
            raise DataError(f"{path}: not a readable Parquet file: {error}") from None
        _check_header([str(column) for column in frame.columns], path)
        if frame.empty:
            raise DataError(f"{path}: has columns but no rows")
        return frame


def _check_header(header: list[str], path: Path) -> None:
    if not header:
        raise DataError(f"{path}: is empty, expected a header and rows")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path}: the column {twice[0]!r} stands {header.count(twice[0])} times in the header")
