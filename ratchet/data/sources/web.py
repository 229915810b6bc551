"""Data sets on web servers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd

from ratchet.config import HttpDataset
from ratchet.data.fetch.archives import member_file
from ratchet.data.fetch.downloads import Remote, download
from ratchet.data.fingerprint import file_version
from ratchet.data.sources.files import read_file


class HttpSource:
    """A file on a web server, or a file in an archive there; a stored copy needs no network."""

    def __init__(self, config: HttpDataset, folder: Path | None = None) -> None:
        self._config = config
        self._folder = folder

    @cached_property
    def file(self) -> Path:
        """The file with the rows, on this machine.

        Raises
        ------
        DataError: the server has no such file or another content than before, or the archive has no such member.
        UnavailableError: the server is unreachable, or the download was cut off.
        StateError: the folder of downloads cannot be written.
        """
        downloaded = download(Remote(self._config.url, self._config.sha256), self._folder)
        return member_file(downloaded, self._config.member)

    def version(self) -> str:
        """Return the MD5 of the file with the rows, unpacked, which DVC records for it."""
        return file_version(self.file)

    def read(self) -> pd.DataFrame:
        """Return the rows, as ``read_file`` does."""
        return read_file(self.file, self._config.kind, self._config)
