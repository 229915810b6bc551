"""Rows in the order of time, and rows of a series with their past values."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ratchet.config import Dataset, Window
from ratchet.data.columns import as_time_text, require_columns
from ratchet.errors import DataError


def in_order(frame: pd.DataFrame, config: Dataset) -> pd.DataFrame:
    """Return rows oldest first where the config names a time, and with lags where it has a window.

    Raises
    ------
    DataError: there is no such column, a time is missing or invalid, or the series is shorter than its longest lag.
    """
    if config.time is None:
        return frame
    require_columns(frame.columns, [config.time], "time")
    times = as_time_text(frame[config.time])
    if times.isna().any():
        raise DataError(f"column {config.time!r}: a time is missing, and the rows cannot be put into order without it")
    order = times.sort_values(kind="stable").index
    frame = frame.assign(**{config.time: times}).loc[order].reset_index(drop=True)
    return frame if config.window is None else _with_lags(frame, config.window, config.time, config.target)


def _with_lags(frame: pd.DataFrame, window: Window, time: str, target: str) -> pd.DataFrame:
    """Add the past values that are known when a row is predicted, and shift the columns that are not known by then.

    A row is the time that is predicted. Its lags are values of earlier rows, at least ``horizon`` back; its other
    columns are shifted by the horizon, except those that the config declares as known. The first rows, which lack
    values for the longest lag, are left out.
    """
    require_columns(frame.columns, [*window.lags, *window.known], "window")
    fixed = {time, target, *window.known}
    columns: dict[str, Any] = {
        name: frame[name] if name in fixed else frame[name].shift(window.horizon) for name in frame.columns
    }
    for name, lags in window.lags.items():
        lagged = {f"{name}_lag_{lag}": frame[name].shift(lag) for lag in lags}
        duplicate = next((new for new in lagged if new in columns), None)
        if duplicate is not None:
            raise DataError(f"dataset.window: would add a second column {duplicate!r}: rename the existing one")
        columns |= lagged
    longest = max([window.horizon, *(lag for lags in window.lags.values() for lag in lags)])
    if longest >= len(frame):
        raise DataError(f"dataset.window: the longest lag is {longest}, and the series has {len(frame)} rows")
    return pd.DataFrame(columns).iloc[longest:].reset_index(drop=True)
