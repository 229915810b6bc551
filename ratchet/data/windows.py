"""Rows in the order of time, and rows of series with their past values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import Dataset, Window
from ratchet.data.columns import as_time_text, require_columns, row_number
from ratchet.data.time_steps import Step, describe_gap, infer_step
from ratchet.errors import DataError

Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

# Gaps that an error names.
_NAMED = 3


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
    series = _series_of(frame, codes, moments, config)
    frame = frame.iloc[series.rows]
    longest_lag = max(window.horizon, *(lag for lags in window.lags.values() for lag in lags))
    longest_series = int(np.bincount(series.groups).max())
    if longest_lag >= longest_series:
        which = "longest series" if config.groups else "series"
        raise DataError(f"dataset.window: the longest lag is {longest_lag}, and the {which} has {longest_series} rows")
    step = infer_step(moments, *series.neighbours())
    if config.fill is None:
        _require_even_steps(frame, series, step, config)
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
    for name, lags in window.lags.items():
        for lag in lags:
            new = f"{name}_lag_{lag}"
            if new in columns:
                raise DataError(f"dataset.window: would add a second column {new!r}: rename the existing one")
            columns[new] = (name, lag)
    return columns


@dataclass(frozen=True)
class _Series:
    """Rows in the order of series, and of time within each.

    Attributes
    ----------
    rows: the position of each row in the frame in the order of time.
    groups: the number of each row's series, from 0, ascending.
    codes: the position of each row's time in ``moments``, ascending within a series, without repetition.
    moments: the distinct times of all series, ascending.
    """

    rows: Positions
    groups: Positions
    codes: Positions
    moments: pd.DatetimeIndex

    def neighbours(self) -> tuple[Positions, Positions]:
        """Return the times of rows that follow each other in a series: the earlier and the later of each pair."""
        same = self.groups[1:] == self.groups[:-1]
        return self.codes[:-1][same], self.codes[1:][same]

    def back(self, steps: int, step: Step, fill: str | None) -> tuple[Positions, Mask]:
        """Return where each row's past is, and whether it exists.

        The past is the row of the same series exactly ``steps`` before; with ``fill: ffill``, the newest until then.
        """
        if steps == 0:
            return np.arange(len(self.rows)), np.ones(len(self.rows), dtype=bool)
        wanted = step.before(self.moments, steps)
        newest = self.moments.searchsorted(wanted, side="right") - 1
        known = newest >= 0 if fill == "ffill" else (newest >= 0) & (self.moments[newest] == wanted)
        n_moments = len(self.moments)
        keys = self.groups * n_moments + self.codes
        looked_up = self.groups * n_moments + newest[self.codes]
        at = np.maximum(np.searchsorted(keys, looked_up, side="right") - 1, 0)
        exists = self.groups[at] == self.groups if fill == "ffill" else keys[at] == looked_up
        return at, known[self.codes] & exists


def _series_of(frame: pd.DataFrame, codes: Positions, moments: pd.DatetimeIndex, config: Dataset) -> _Series:
    """Divide rows in the order of time into series, with one row for each time of a series.

    Raises
    ------
    DataError: a group is missing, or two rows have one time and the config does not say which is kept.
    """
    groups = np.zeros(len(frame), dtype=np.intp)
    if config.groups:
        names = list(config.groups)
        missing = frame.index[frame[names].isna().any(axis=1)]
        if len(missing):
            raise DataError(f"dataset.group: a value of {_quoted(names)} is missing in row {row_number(missing[0])}")
        groups = frame.groupby(names, sort=False).ngroup().to_numpy()
    keys = pd.Series(groups * len(moments) + codes)
    if config.repeated is None and keys.duplicated().any():
        raise DataError(_repeated_times(frame, keys, config))
    rows = np.flatnonzero(~keys.duplicated(keep=config.repeated or "first"))
    rows = rows[np.argsort(keys[rows], kind="stable")]
    return _Series(rows, groups[rows], codes[rows], moments)


def _repeated_times(frame: pd.DataFrame, keys: pd.Series[Any], config: Dataset) -> str:
    """Return the message on rows of one series that have one time, with two of them."""
    twice = keys.duplicated(keep=False)
    example = frame[(keys == keys[twice].iloc[0]).to_numpy()]
    first, second = (row_number(index) for index in example.index[:2])
    where = "".join(f", {name} {example[name].iloc[0]!r}" for name in config.groups)
    apart = next((str(name) for name in frame.columns if _tells_apart(frame, str(name), config)), None)
    group = apart if not config.groups else f"[{', '.join([*config.groups, str(apart)])}]"
    named = f": {group}" if apart else ""
    return (
        f"column {config.time!r}: rows {first} and {second} have one time, {example[config.time].iloc[0]}{where}"
        f" ({int(twice.sum())} such rows), and a lag needs one row for each time: name the column that tells the series"
        f" apart (dataset.group{named}), or keep one row for each time (dataset.repeated: last)"
    )


def _tells_apart(frame: pd.DataFrame, name: str, config: Dataset) -> bool:
    """Return whether a column could be the group: it makes times unique, and each of its values has several rows."""
    keys = list(dict.fromkeys([*config.groups, name, str(config.time)]))
    if name in (config.target, config.time, *config.groups) or pd.api.types.is_float_dtype(frame[name]):
        return False
    return frame[name].nunique() * 2 <= len(frame) and not frame.duplicated(keys).any()


def _require_even_steps(frame: pd.DataFrame, series: _Series, step: Step, config: Dataset) -> None:
    """Check that the rows of each series follow each other by one step.

    Raises
    ------
    DataError: the first gaps, with their times, and the keys that allow them.
    """
    _, exists = series.back(1, step, None)
    starts = np.concatenate([[True], series.groups[1:] != series.groups[:-1]])
    late = np.flatnonzero(~exists & ~starts)
    if not len(late):
        return
    names = list(config.groups)
    gaps = []
    for at in late[:_NAMED]:
        before, after = series.moments[series.codes[at - 1]], series.moments[series.codes[at]]
        where = "".join(f", {name} {frame[name].iloc[at]!r}" for name in names)
        gaps.append(describe_gap(before, after, step) + where)
    more = f", and {len(late) - _NAMED} more" if len(late) > _NAMED else ""
    raise DataError(
        f"column {config.time!r}: the step is {step.name}, but {'; '.join(gaps)}{more}: leave out the rows that"
        " lack a lag (dataset.fill: drop), or take the newest value before (dataset.fill: ffill)"
    )


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
