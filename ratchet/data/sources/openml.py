"""Data sets of openml.org."""

from __future__ import annotations

import warnings
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.config import OpenmlDataset
from ratchet.data.fingerprint import frame_version
from ratchet.errors import DataError, StateError, UnavailableError, one_line
from ratchet.settings import load_settings


class OpenmlSource:
    """A data set of openml.org, fetched by scikit-learn and kept with the other downloads.

    All columns are given but those that OpenML marks as row ids or to be ignored.
    """

    def __init__(self, config: OpenmlDataset, folder: Path | None = None, delay: float = 1.0) -> None:
        self._config = config
        self._folder = folder
        self._delay = delay  # seconds from one try to the next

    def version(self) -> str:
        """The MD5 of the data set written as CSV."""
        return frame_version(self._frame)

    def read(self) -> pd.DataFrame:
        """The rows; categories as text.

        Raises
        ------
        DataError: OpenML has no such data set, or it is sparse.
        UnavailableError: OpenML cannot be reached and no copy is kept, or the download was cut off.
        StateError: the folder of downloads cannot be written.
        """
        return self._frame.copy()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        config = self._config
        which: dict[str, Any] = {"data_id": config.data_id} if config.data_id else {"name": config.name}
        if config.version is not None:
            which["version"] = config.version
        shown = f"OpenML {config.data_id or f'{config.name} version {config.version}'}"
        frame = _fetched(which, str(self._folder or load_settings().downloads), self._delay, shown)
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].astype(object)
        return frame


def _fetched(which: dict[str, Any], home: str, delay: float, shown: str) -> pd.DataFrame:
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings():
            # scikit-learn warns of each new try, and of what OpenML says of the data set: the card says it better.
            warnings.simplefilter("ignore")
            found: Any = fetch_openml(
                **which, as_frame=True, target_column=None, parser="auto", data_home=home, n_retries=2, delay=delay
            )
    except (OSError, HTTPException) as error:
        if getattr(error, "code", None) == 404:
            raise DataError(f"{shown}: OpenML has no such data set") from None
        if isinstance(error, PermissionError) or (getattr(error, "filename", None) and not hasattr(error, "code")):
            raise StateError(f"{home} cannot be written: {getattr(error, 'strerror', None) or error}") from None
        raise UnavailableError(
            f"{shown}: openml.org cannot be reached ({one_line(getattr(error, 'reason', error))}):"
            " look at the network and run again"
        ) from None
    except ValueError as error:
        if "md5 checksum" in str(error):
            raise UnavailableError(
                f"{shown}: what came has another MD5 than OpenML says: it was cut off, or changed; run again"
            ) from None
        raise DataError(f"{shown}: {one_line(error)}") from None
    frame: pd.DataFrame = found.frame
    return frame
