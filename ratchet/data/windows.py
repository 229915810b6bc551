"""Rows in the order of time, and series as rows that stand for themselves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ratchet.config import Dataset, Window
from ratchet.data.columns import as_time_text
from ratchet.errors import DataError, nearest


def in_order(frame: pd.DataFrame, config: Dataset) -> pd.DataFrame:
    """The rows of a source as the config wants them: oldest first where it names a time, with their past if it asks.

    Parameters
    ----------
    frame: rows as the source gave them.
    config: the ``dataset`` section.

    Raises
    ------
    DataError: there is no such column, a time is missing or none, or the series is shorter than its longest lag.
    """
    if config.time is None:
        return frame
    _require(frame, [config.time], "time")
    times = as_time_text(frame[config.time])
    if times.isna().any():
        raise DataError(f"column {config.time!r}: a time is missing, and the rows cannot be put into order without it")
    order = times.sort_values(kind="stable").index
    frame = frame.assign(**{config.time: times}).loc[order].reset_index(drop=True)
    return frame if config.window is None else windows(frame, config.window, config.time, config.target)


def windows(frame: pd.DataFrame, window: Window, time: str, target: str) -> pd.DataFrame:
    """Give every row the past that may be known when it is predicted, and nothing of what comes later.

    A row stands for the time that is predicted. Its lags are values of earlier rows, at least ``horizon`` back; its
    other columns are moved by the horizon too, unless the config says that they are known beforehand.

    Parameters
    ----------
    frame: rows at even distances, oldest first.
    window: lags, horizon, and columns that are known beforehand.
    time: the column that orders them.
    target: what is predicted; it stands as it is.

    Returns
    -------
    The rows that have their whole past; the first ones, as many as the longest lag, are left out.

    Raises
    ------
    DataError: a column is not there, or would be there twice, or no row has its whole past.
    """
    _require(frame, [*window.lags, *window.known], "window")
    stays = {time, target, *window.known}
    columns: dict[str, Any] = {
        name: frame[name] if name in stays else frame[name].shift(window.horizon) for name in frame.columns
    }
    for name, lags in window.lags.items():
        made = {f"{name}_lag_{lag}": frame[name].shift(lag) for lag in lags}
        twice = next((lagged for lagged in made if lagged in columns), None)
        if twice is not None:
            raise DataError(f"dataset.window: makes a column {twice!r}, and there is one already: name that otherwise")
        columns |= made
    longest = max([window.horizon, *(lag for lags in window.lags.values() for lag in lags)])
    if longest >= len(frame):
        raise DataError(f"dataset.window: the longest lag is {longest}, and the series has {len(frame)} rows")
    return pd.DataFrame(columns).iloc[longest:].reset_index(drop=True)


def _require(frame: pd.DataFrame, names: list[str], key: str) -> None:
    for name in names:
        if name not in frame.columns:
            known = [str(column) for column in frame.columns]
            raise DataError(f"dataset.{key}: there is no column {name!r}{nearest(name, known)}")
