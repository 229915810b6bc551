"""The base class of sources whose rows are not in a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Generic, TypeVar

import pandas as pd

from ratchet.config import BaseDataset
from ratchet.data.fingerprint import frame_version

Config = TypeVar("Config", bound=BaseDataset)


class FrameSource(ABC, Generic[Config]):
    """Rows that are computed, queried or downloaded once for each instance."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def read(self) -> pd.DataFrame:
        """Return all rows, shape (rows, columns)."""
        return self._frame.copy()

    def version(self) -> str:
        """Return the MD5 of the rows written as CSV, which DVC records for that file."""
        return frame_version(self._frame)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return self._load()

    @abstractmethod
    def _load(self) -> pd.DataFrame: ...
