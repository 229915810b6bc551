"""Data sets of openml.org."""

from __future__ import annotations

import warnings
from http.client import HTTPException
from typing import Any

import pandas as pd

from ratchet.config import OpenmlDataset
from ratchet.data.sources.frame import FrameSource
from ratchet.errors import DataError, StateError, UnavailableError, one_line
from ratchet.settings import load_settings

_RETRIES = 2
_RETRY_DELAY = 1.0


class OpenmlSource(FrameSource[OpenmlDataset]):
    """A data set of openml.org, downloaded by scikit-learn into the folder of downloads.

    It has all columns but those that OpenML marks as row ids or to be ignored; categories are text.
    """

    def _load(self) -> pd.DataFrame:
        config = self._config
        selection: dict[str, Any] = {"data_id": config.data_id} if config.data_id else {"name": config.name}
        if config.version is not None:
            selection["version"] = config.version
        shown = f"OpenML {config.data_id or f'{config.name} version {config.version}'}"
        frame = _fetch(selection, str(load_settings().downloads), shown)
        for name in frame.select_dtypes("category"):
            frame[name] = frame[name].astype(object)
        return frame


def _fetch(selection: dict[str, Any], folder: str, shown: str) -> pd.DataFrame:
    """Download a data set, or read the stored copy.

    Raises
    ------
    DataError: OpenML has no such data set, or it is sparse.
    UnavailableError: OpenML is unreachable and no copy is stored, or the download was cut off.
    StateError: the folder cannot be written.
    """
    from sklearn.datasets import fetch_openml

    options: dict[str, Any] = {"as_frame": True, "target_column": None, "parser": "auto", "n_retries": _RETRIES}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about retries, and OpenML's remarks on the data set
            found: Any = fetch_openml(**selection, **options, data_home=folder, delay=_RETRY_DELAY)
    except (OSError, HTTPException) as error:
        if getattr(error, "code", None) == 404:
            raise DataError(f"{shown}: OpenML has no such data set") from None
        if isinstance(error, PermissionError) or (getattr(error, "filename", None) and not hasattr(error, "code")):
            raise StateError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from None
        raise UnavailableError(
            f"{shown}: openml.org cannot be reached ({one_line(getattr(error, 'reason', error))}):"
            " check the network and run again"
        ) from None
    except ValueError as error:
        if "md5 checksum" in str(error):
            raise UnavailableError(
                f"{shown}: the download has another MD5 than OpenML lists: it was cut off, or it changed; run again"
            ) from None
        raise DataError(f"{shown}: {one_line(error)}") from None
    frame: pd.DataFrame = found.frame
    return frame
