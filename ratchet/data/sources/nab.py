"""Series in the format of the Numenta Anomaly Benchmark (A. Lavin and S. Ahmad, 2015, arXiv:1510.03336)."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

from ratchet.config import NabDataset, Place
from ratchet.data.columns import as_time_text
from ratchet.data.delimited import Dialect, read_delimited
from ratchet.data.fetch.downloads import Remote, download
from ratchet.data.fingerprint import frame_version
from ratchet.errors import DataError, nearest

ANOMALY, NORMAL = "anomaly", "normal"
_COLUMNS = ["timestamp", "value"]


class NabSource:
    """A series of values, each labelled by whether its time lies in a window of anomalies."""

    def __init__(self, config: NabDataset, folder: Path | None = None) -> None:
        self._config = config
        self._folder = folder

    def version(self) -> str:
        """The MD5 of the labelled series written as CSV."""
        return frame_version(self._frame)

    def read(self) -> pd.DataFrame:
        """The columns timestamp, value and the config's target: ``anomaly`` or ``normal``; both ends of a window count.

        Raises
        ------
        DataError: a file is not in the format, or the JSON has no windows for the series.
        UnavailableError, StateError: a file has to be fetched and cannot be.
        """
        return self._frame.copy()

    @cached_property
    def _frame(self) -> pd.DataFrame:
        target = self._config.target
        if target in _COLUMNS:
            raise DataError(f"dataset.target: {target!r} is a column of the series; choose another name")
        path = self._file(self._config.values)
        frame = read_delimited(path, Dialect(",", "utf-8", (), quotes=True))
        if list(frame.columns) != _COLUMNS:
            raise DataError(f"{path}: expected the columns timestamp and value, got {', '.join(frame.columns)}")
        times = as_time_text(frame["timestamp"])
        inside = pd.Series(False, index=frame.index)
        for start, end in self._windows():
            inside |= (times >= start) & (times <= end)
        frame[target] = inside.map({True: ANOMALY, False: NORMAL}).astype(object)
        return frame

    def _windows(self) -> list[tuple[str, str]]:
        """The first and last time of each window, as texts that sort in time."""
        path = self._file(self._config.labels)
        try:
            known: Any = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"dataset.labels {path}: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{path}: no JSON: {error}") from None
        key = self._config.key or _last_two(self._config.values)
        if not isinstance(known, dict) or key not in known:
            names = known if isinstance(known, dict) else ()
            raise DataError(f"dataset.key: {path} has no windows for {key!r}{nearest(key, names)}")
        try:
            return [self._window(start, end) for start, end in known[key]]
        except (TypeError, ValueError):
            raise DataError(f"{path}: the windows of {key!r} are no list of pairs of times") from None

    @staticmethod
    def _window(start: str, end: str) -> tuple[str, str]:
        times = pd.Series([start, end], name="labels", dtype=object)
        if not times.map(lambda time: isinstance(time, str)).all():
            raise TypeError
        first, last = as_time_text(times)
        return first, last

    def _file(self, place: Place) -> Path:
        if place.path is not None:
            return place.path
        return download(Remote(str(place.url), place.sha256), self._folder)


def _last_two(place: Place) -> str:
    path = place.path.as_posix() if place.path else unquote(urlsplit(str(place.url)).path)
    return "/".join(PurePosixPath(path).parts[-2:])
