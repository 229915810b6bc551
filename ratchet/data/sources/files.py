"""Data sets in CSV, TSV and Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.config import CsvDataset, ParquetDataset, TsvDataset
from ratchet.data.delimited import Dialect, check_header, read_delimited
from ratchet.data.fingerprint import file_version
from ratchet.errors import DataError, one_line


class FileSource:
    """One file on this machine."""

    def __init__(self, config: CsvDataset | TsvDataset | ParquetDataset) -> None:
        self._config = config

    def version(self) -> str:
        """Return the MD5 of the file."""
        return file_version(self._config.path)

    def read(self) -> pd.DataFrame:
        """Return the rows, as ``read_file`` does."""
        return read_file(self._config.path, self._config.source, self._config)


def read_file(path: Path, kind: str, config: Any) -> pd.DataFrame:
    """Return the rows of a file, csv, tsv or parquet, with a ``dataset`` section that has the keys of its kind.

    Raises
    ------
    DataError: the file cannot be read, is not of its kind, has duplicate columns, or no rows.
    """
    if kind == "parquet":
        return _read_parquet(path)
    separator = "\t" if kind == "tsv" else config.separator
    dialect = Dialect(separator, config.encoding, config.names, quotes=kind == "csv")
    return read_delimited(path, dialect, config.timestamp)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except OSError as error:
        raise DataError(f"dataset.path {path}: {error.strerror or error}") from None
    except ValueError as error:  # pyarrow's ArrowInvalid is one too
        raise DataError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    check_header([str(column) for column in frame.columns], path)
    if frame.empty:
        raise DataError(f"{path}: has columns but no rows")
    return frame.reset_index(drop=True)  # pandas stores an index, which is not the number of the row
