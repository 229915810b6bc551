"""Rows divided into series, and the look-up of a row's past by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import Dataset
from ratchet.data.columns import row_number
from ratchet.data.time_steps import Step, describe_gap
from ratchet.errors import DataError

Positions = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

# Gaps that an error names.
_NAMED = 3


@dataclass(frozen=True)
class Series:
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


def divide(frame: pd.DataFrame, codes: Positions, moments: pd.DatetimeIndex, config: Dataset) -> Series:
    """Divide rows in the order of time into series, with one row for each time of a series.

    Raises
    ------
    DataError: a group is missing, or two rows have one time and the config does not say which is kept.
    """
    groups = _group_numbers(frame, list(config.groups))
    keys = pd.Series(groups * len(moments) + codes)
    if config.repeated is None and keys.duplicated().any():
        raise DataError(_repeated_times(frame, keys, config))
    rows = np.flatnonzero(~keys.duplicated(keep=config.repeated or "first"))
    rows = rows[np.argsort(keys[rows], kind="stable")]
    return Series(rows, groups[rows], codes[rows], moments)


def _group_numbers(frame: pd.DataFrame, names: list[str]) -> Positions:
    if not names:
        return np.zeros(len(frame), dtype=np.intp)
    missing = frame.index[frame[names].isna().any(axis=1)]
    if len(missing):
        columns = ", ".join(map(repr, names))
        raise DataError(f"dataset.group: a value of {columns} is missing in row {row_number(missing[0])}")
    return np.asarray(frame.groupby(names, sort=False).ngroup(), dtype=np.intp)


def _repeated_times(frame: pd.DataFrame, keys: pd.Series[Any], config: Dataset) -> str:
    """Return the message on rows of one series that have one time, with two of them."""
    twice = keys.duplicated(keep=False)
    example = frame[(keys == keys[twice].iloc[0]).to_numpy()]
    first, second = (row_number(index) for index in example.index[:2])
    where = "".join(f", {name} {example[name].iloc[0]}" for name in config.groups)
    apart = next((str(name) for name in frame.columns if tells_apart(frame, str(name), config)), None)
    group = apart if not config.groups else f"[{', '.join([*config.groups, str(apart)])}]"
    named = f": {group}" if apart else ""
    return (
        f"column {config.time!r}: rows {first} and {second} have one time, {example[config.time].iloc[0]}{where}"
        f" ({int(twice.sum())} such rows), and a lag needs one row for each time: name the column that tells the series"
        f" apart (dataset.group{named}), or keep one row for each time (dataset.repeated: last)"
    )


def tells_apart(frame: pd.DataFrame, name: str, config: Dataset) -> bool:
    """Return whether a column could be the group: it makes times unique, and each of its values has several rows."""
    keys = list(dict.fromkeys([*config.groups, name, str(config.time)]))
    if name in (config.target, config.time, *config.groups) or pd.api.types.is_float_dtype(frame[name]):
        return False
    return frame[name].nunique() * 2 <= len(frame) and not frame.duplicated(keys).any()


def require_even_steps(frame: pd.DataFrame, series: Series, step: Step, config: Dataset) -> None:
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
    gaps = []
    for at in late[:_NAMED]:
        before, after = series.moments[series.codes[at - 1]], series.moments[series.codes[at]]
        where = "".join(f", {name} {frame[name].iloc[at]}" for name in config.groups)
        gaps.append(describe_gap(before, after, step) + where)
    more = f", and {len(late) - _NAMED} more" if len(late) > _NAMED else ""
    raise DataError(
        f"column {config.time!r}: the step is {step.name}, but {'; '.join(gaps)}{more}: leave out the rows that"
        " lack a lag (dataset.fill: drop), or take the newest value before (dataset.fill: ffill)"
    )
