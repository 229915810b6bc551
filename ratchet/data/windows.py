"""Rows in the order of time, and rows of series with their past values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ratchet.config import Dataset, Window
from ratchet.data.columns import as_time_text, require_columns
from ratchet.data.series import Positions, divide, require_even_steps
from ratchet.data.time_steps import infer_step
from ratchet.errors import DataError


def in_order(frame: pd.DataFrame, config: Dataset) -> pd.DataFrame:
    """Return rows oldest first where the config names a time, and with lags where it has a window.

    Raises
    ------
    DataError: there is no such column, a time is missing or invalid, or the lags of a window cannot be had.
    """
    if config.time is None:
        return frame
    require_columns(frame.columns, [config.time], "time")
    times = as_time_text(frame[config.time])
    if times.isna().any():
        raise DataError(f"column {config.time!r}: a time is missing, and the rows cannot be put into order without it")
    codes, distinct = pd.factorize(times, sort=True)
    order = np.argsort(codes, kind="stable")
    frame = frame.assign(**{config.time: times}).iloc[order]
    if config.window is not None:
        moments = pd.DatetimeIndex(pd.to_datetime(distinct, format="ISO8601"))
        frame = _with_lags(frame, codes[order], moments, config, config.window)
    return frame.reset_index(drop=True)


def _with_lags(
    frame: pd.DataFrame, codes: Positions, moments: pd.DatetimeIndex, config: Dataset, window: Window
) -> pd.DataFrame:
    """Add the past values that are known when a row is predicted, and shift the columns that are not known by then.

    A row is the time that is predicted. Its lags are values of its series at earlier times, at least ``horizon`` steps
    back; its other columns are shifted by the horizon, except those that the config declares as known. Rows without a
    value for a lag are left out: the first of a series, and with ``fill: drop`` those that follow a gap.

    Parameters
    ----------
    codes: the position of each row's time in ``moments``, in ascending order.
    moments: the distinct times, in ascending order.
    """
    require_columns(frame.columns, [*window.lags, *window.known], "window")
    require_columns(frame.columns, config.groups, "group")
    series = divide(frame, codes, moments, config)
    frame = frame.iloc[series.rows]
    longest_lag = max(lag for _, lag in window.lag_columns.values())
    longest_series = int(np.bincount(series.groups).max())
    if longest_lag >= longest_series:
        which = "longest series" if config.groups else "series"
        raise DataError(f"dataset.window: the longest lag is {longest_lag}, and the {which} has {longest_series} rows")
    step = infer_step(moments, *series.neighbours())
    if config.fill is None:
        require_even_steps(frame, series, step, config)
    columns = _shifts(frame, config, window)
    at = {shift: series.back(shift, step, config.fill) for shift in {shift for _, shift in columns.values()}}
    found = np.logical_and.reduce([mask for _, mask in at.values()])
    if not found.any():
        raise DataError("dataset.window: no row has all its lags; take shorter lags, or dataset.fill: ffill")
    kept = np.flatnonzero(found)
    kept = kept[np.argsort(series.rows[kept])]
    return pd.DataFrame({new: frame[name].array.take(at[shift][0][kept]) for new, (name, shift) in columns.items()})


def _shifts(frame: pd.DataFrame, config: Dataset, window: Window) -> dict[str, tuple[str, int]]:
    """Return for each column of the result the column that it has its values from, and how many steps back."""
    fixed = {config.time, config.target, *config.groups, *window.known}
    columns = {name: (name, 0 if name in fixed else window.horizon) for name in frame.columns}
    duplicate = next((new for new in window.lag_columns if new in columns), None)
    if duplicate is not None:
        raise DataError(f"dataset.window: would add a second column {duplicate!r}: rename the existing one")
    return columns | window.lag_columns
