"""Data sets in CSV, TSV and Parquet files, on this machine or on a web server."""

from __future__ import annotations

import itertools
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.config import CsvDataset, HttpDataset, ParquetDataset, TsvDataset
from ratchet.data.arrow_frame import to_frame
from ratchet.data.delimited import Dialect, check_header, read_delimited
from ratchet.data.fetch.archives import member_file
from ratchet.data.fetch.downloads import Remote, download
from ratchet.data.fingerprint import file_version
from ratchet.errors import DataError, one_line

# The part of a large file that a check before a run reads.
_FIRST_BYTES = 8 << 20
_FIRST_ROWS = 50_000


class FileSource:
    """A file on this machine, or the stored copy of one on a web server."""

    def __init__(self, config: CsvDataset | TsvDataset | ParquetDataset | HttpDataset) -> None:
        self._config = config

    @cached_property
    def file(self) -> Path:
        """The file with the rows, on this machine; unpacked where the download is an archive.

        Raises
        ------
        DataError: the server has no such file or another content than before, or the archive has no such member.
        UnavailableError: the server is unreachable, or the download was cut off.
        StateError: the folder of downloads cannot be written.
        """
        if isinstance(self._config, HttpDataset):
            return member_file(download(Remote(self._config.url, self._config.sha256)), self._config.member)
        return self._config.path

    def version(self) -> str:
        """Return the MD5 of the file, which DVC records for it."""
        return file_version(self.file)

    def read(self) -> pd.DataFrame:
        """Return the rows.

        Raises
        ------
        DataError: the file cannot be read, is not of its kind, has duplicate columns, or no rows.
        """
        if self._kind == "parquet":
            return _read_parquet(self.file)
        return read_delimited(self.file, self._dialect, self._config)

    def read_first(self) -> tuple[pd.DataFrame, bool]:
        """Return the first rows of a large file, or all of a small one, and whether these are all.

        Raises
        ------
        DataError: as for ``read``.
        """
        if self._kind == "parquet":
            rows = _read_parquet(self.file, _FIRST_ROWS)
            return rows, len(rows) < _FIRST_ROWS
        rows = read_delimited(self.file, self._dialect, self._config, _FIRST_BYTES)
        return rows, self.file.stat().st_size <= _FIRST_BYTES

    @property
    def _kind(self) -> str:
        config = self._config
        return config.kind if isinstance(config, HttpDataset) else config.source

    @property
    def _dialect(self) -> Dialect:
        config: Any = self._config
        separator = "\t" if self._kind == "tsv" else config.separator
        return Dialect(separator, config.encoding, config.names, quotes=self._kind == "csv")


def _read_parquet(path: Path, most: int | None = None) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if most is None:
            table = pq.read_table(path)
        else:
            with pq.ParquetFile(path) as file:
                batches = itertools.islice(file.iter_batches(most), 1)
                table = pa.Table.from_batches(batches, file.schema_arrow)
        check_header(list(table.column_names), path)
        frame = to_frame(table)
    except OSError as error:
        raise DataError(f"dataset.path {path}: {error.strerror or error}") from None
    except ValueError as error:  # pyarrow's ArrowInvalid is one too
        raise DataError(f"{path}: not a readable Parquet file: {one_line(error)}") from None
    if frame.empty:
        raise DataError(f"{path}: has columns but no rows")
    return frame.reset_index(drop=True)  # pandas stores an index, which is not the number of the row
