"""The step of a series: a fixed duration, or a step of the calendar such as a month or a business day."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries import offsets

Positions = npt.NDArray[np.intp]

_UNITS = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000, "microsecond": 1}
# The mean length of a month in days.
_MONTH = 365.25 / 12


@dataclass(frozen=True)
class Step:
    """The time from one row of a series to the next.

    Attributes
    ----------
    offset: what is subtracted from a time to get the one before.
    name: for messages, such as ``1 hour``.
    """

    offset: pd.Timedelta | offsets.BaseOffset
    name: str

    def before(self, moments: pd.DatetimeIndex, steps: int) -> pd.DatetimeIndex:
        """Return the times that lie some steps before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.PerformanceWarning)  # the ends of business months, one by one
            return moments - steps * self.offset


def infer_step(moments: pd.DatetimeIndex, earlier: Positions, later: Positions) -> Step:
    """Return the step that most pairs of neighbouring rows have; of equals, the fixed one.

    Parameters
    ----------
    moments: distinct times, in ascending order.
    earlier, later: positions in ``moments`` of the neighbours, shape (pairs,), at least one pair.
    """
    ticks = moments.as_unit("us").asi8
    found, counts = np.unique(ticks[later] - ticks[earlier], return_counts=True)
    commonest = pd.Timedelta(int(found[counts.argmax()]), unit="us")
    fixed = Step(commonest, _duration(commonest))
    if len(found) == 1:
        return fixed
    return max([fixed, *_calendar_steps(commonest)], key=lambda step: _share(moments, earlier, later, step))


def describe_gap(before: pd.Timestamp, after: pd.Timestamp, step: Step) -> str:
    """Return in words what is wrong with two neighbours that are not one step apart."""
    if isinstance(step.offset, pd.Timedelta):
        steps, rest = divmod(after - before, step.offset)
        uneven, first, last = bool(rest), before + step.offset, after - step.offset
    else:
        times = pd.date_range(before, after, freq=step.offset)
        steps, uneven = len(times) - 1, not len(times) or times[-1] != after
        first, last = before + step.offset, after - step.offset
    if uneven or steps < 2:
        return f"{after.isoformat()} is {_duration(after - before)} after {before.isoformat()}"
    if steps == 2:
        return f"{first.isoformat()} is missing"
    return f"{first.isoformat()} to {last.isoformat()} are missing ({steps - 1} rows)"


def _calendar_steps(commonest: pd.Timedelta) -> list[Step]:
    """Return the steps of the calendar whose usual length this is."""
    if commonest == pd.Timedelta(days=1):
        return [Step(offsets.BDay(), "1 business day")]
    months = round(commonest / pd.Timedelta(days=_MONTH))
    if commonest < pd.Timedelta(days=28) or not months:
        return []
    same_day, name = pd.DateOffset(months=months), _plural(months, "month")
    ends = (offsets.MonthEnd(months), offsets.BMonthEnd(months), offsets.BMonthBegin(months))
    return [Step(offset, name) for offset in (same_day, *ends)]


def _share(moments: pd.DatetimeIndex, earlier: Positions, later: Positions, step: Step) -> float:
    """Return the share of pairs that are exactly one step apart."""
    return float((step.before(moments, 1)[later] == moments[earlier]).mean())


def _duration(time: pd.Timedelta) -> str:
    microseconds = time // pd.Timedelta(1, unit="us")
    unit = next(unit for unit, length in _UNITS.items() if microseconds % length == 0)
    return _plural(microseconds // _UNITS[unit], unit)


def _plural(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
