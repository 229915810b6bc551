"""Data sets on web servers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd

from ratchet.config import HttpDataset, ParquetDataset
from ratchet.data.delimited import Dialect, read_delimited
from ratchet.data.fetch.archives import member_file
from ratchet.data.fetch.downloads import Remote, download
from ratchet.data.fingerprint import file_version
from ratchet.data.sources.files import ParquetSource


class HttpSource:
    """A file on a web server, or one in an archive there; the network is asked only where no copy is kept."""

    def __init__(self, config: HttpDataset, folder: Path | None = None) -> None:
        self._config = config
        self._folder = folder

    @cached_property
    def file(self) -> Path:
        """The file with the rows, on this machine.

        Raises
        ------
        DataError: the server has no such file or another one than before, or the archive has no such member.
        UnavailableError: the server cannot be reached, or the download was cut off.
        StateError: the folder of downloads cannot be written.
        """
        downloaded = download(Remote(self._config.url, self._config.sha256), self._folder)
        return member_file(downloaded, self._config.member)

    def version(self) -> str:
        """The MD5 of the file with the rows, unpacked: what DVC records for it."""
        return file_version(self.file)

    def read(self) -> pd.DataFrame:
        """The rows, as a file of its format is read."""
        config = self._config
        if config.kind == "parquet":
            return ParquetSource(ParquetDataset(source="parquet", path=self.file, target=config.target)).read()
        tabs = config.kind == "tsv"
        dialect = Dialect.of(config, "\t" if tabs else config.separator, quotes=not tabs)
        return read_delimited(self.file, dialect, config.timestamp)
