"""Series in the format of the Numenta Anomaly Benchmark (A. Lavin and S. Ahmad, 2015, arXiv:1510.03336)."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

from ratchet.config import NabDataset, Place
from ratchet.data.columns import as_time_text
from ratchet.data.delimited import Dialect, read_delimited
from ratchet.data.fetch.downloads import Remote, download
from ratchet.data.sources.frame import FrameSource
from ratchet.errors import DataError
from ratchet.nearest_names import nearest

_ANOMALY, _NORMAL = "anomaly", "normal"
_COLUMNS = ["timestamp", "value"]


class NabSource(FrameSource[NabDataset]):
    """A series with the columns timestamp and value, and a label in the config's target.

    The label is ``anomaly`` where the time is in a window of anomalies, both ends included, else ``normal``.
    """

    def _load(self) -> pd.DataFrame:
        target = self._config.target
        if target in _COLUMNS:
            raise DataError(f"dataset.target: {target!r} is a column of the series; choose another name")
        path = self._file(self._config.values)
        frame = read_delimited(path, Dialect(",", "utf-8", (), quotes=True), self._config)
        if list(frame.columns) != _COLUMNS:
            raise DataError(f"{path}: expected the columns timestamp and value, got {', '.join(frame.columns)}")
        times = as_time_text(frame["timestamp"])
        is_anomaly = pd.Series(False, index=frame.index)
        for start, end in self._windows():
            is_anomaly |= times.between(start, end)
        frame[target] = is_anomaly.map({True: _ANOMALY, False: _NORMAL}).astype(object)
        return frame

    def _windows(self) -> list[tuple[str, str]]:
        """Return the first and last time of each window, as text whose order is that of time."""
        path = self._file(self._config.labels)
        try:
            known: Any = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"dataset.labels {path}: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{path}: not JSON: {error}") from None
        key = self._config.key or _last_two(self._config.values)
        if not isinstance(known, dict) or key not in known:
            names = known if isinstance(known, dict) else ()
            raise DataError(f"dataset.key: {path} has no windows for {key!r}{nearest(key, names)}")
        try:
            return [_window(start, end) for start, end in known[key]]
        except (TypeError, ValueError):
            raise DataError(f"{path}: the windows of {key!r} are not a list of pairs of times") from None

    def _file(self, place: Place) -> Path:
        return place.path or download(Remote(str(place.url), place.sha256))


def _window(start: str, end: str) -> tuple[str, str]:
    times = pd.Series([start, end], name="labels", dtype=object)
    if not times.map(lambda time: isinstance(time, str)).all():
        raise TypeError
    first, last = as_time_text(times)
    return first, last


def _last_two(place: Place) -> str:
    path = place.path.as_posix() if place.path else unquote(urlsplit(str(place.url)).path)
    return "/".join(PurePosixPath(path).parts[-2:])
