"""Data sets in files of one's own: CSV, TSV and Parquet."""

from __future__ import annotations

from typing import Generic, TypeVar

import pandas as pd

from ratchet.config import CsvDataset, ParquetDataset, TsvDataset
from ratchet.data.delimited import Dialect, check_header, read_delimited
from ratchet.data.fingerprint import file_version
from ratchet.errors import DataError

Kind = TypeVar("Kind", bound=CsvDataset | TsvDataset | ParquetDataset)


class FileSource(Generic[Kind]):
    """One file on this machine."""

    def __init__(self, config: Kind) -> None:
        self._config: Kind = config

    def version(self) -> str:
        """The MD5 of the file."""
        return file_version(self._config.path)


class CsvSource(FileSource[CsvDataset]):
    """A CSV file; every row must have as many fields as the header."""

    def read(self) -> pd.DataFrame:
        """The rows, as ``read_delimited`` reads them."""
        config = self._config
        return read_delimited(config.path, Dialect.of(config, config.separator, quotes=True), config.timestamp)


class TsvSource(FileSource[TsvDataset]):
    """A file with tabs between its fields; every row must have as many as the header."""

    def read(self) -> pd.DataFrame:
        """The rows, as ``read_delimited`` reads them."""
        config = self._config
        return read_delimited(config.path, Dialect.of(config, "\t", quotes=False), config.timestamp)


class ParquetSource(FileSource[ParquetDataset]):
    """A Parquet file."""

    def read(self) -> pd.DataFrame:
        """All rows; an index that pandas has stored beside them is no column, and does not number them.

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
        check_header([str(column) for column in frame.columns], path)
        if frame.empty:
            raise DataError(f"{path}: has columns but no rows")
        return frame.reset_index(drop=True)
