"""The time of a file: the column that orders its rows, and whether they are a series to forecast."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from ratchet.config import Dataset
from ratchet.data.columns import as_time_text
from ratchet.data.series import tells_apart
from ratchet.data.windows import in_order
from ratchet.errors import DataError

_DATASET: TypeAdapter[Any] = TypeAdapter(Dataset)
_NAMED_TIME = re.compile(r"(^|[_\W])(time|timestamp|datetime|date|day|hour|week|month|ts|ds)$", re.IGNORECASE)
_OF_A_PERSON = re.compile(r"birth|dob|expir|due|until|end", re.IGNORECASE)
# The share of rows that follow each other in the order of time.
_IN_ORDER = 0.95
# Rows and distinct times that a series needs, and the share of rows that keep their lag of one step.
_FEWEST_TIMES, _REGULAR = 30, 0.8
# The share of rows with the time of another row that a series may have.
_REPEATED = 0.02
_HOUR, _DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
# Lags besides the last three, as durations. Months and years have steps of the calendar.
_PERIODS = (_HOUR, _DAY, 7 * _DAY, 364 * _DAY)


@dataclass(frozen=True)
class SeriesKeys:
    """The keys of ``dataset`` for a series, and why each.

    Attributes
    ----------
    keys: group, repeated, fill and window; ``time`` is not among them.
    why: by key.
    """

    keys: Mapping[str, Any]
    why: Mapping[str, str]


def time_column(rows: pd.DataFrame, names: Sequence[str]) -> tuple[str, str] | None:
    """Return the column that orders the rows, and why; None where there is none.

    A time is such a column if the file is in its order, oldest or newest first, or if its name says so. The date of a
    birth is none.
    """
    found = []
    for name in names:
        times = as_time_text(rows[name])
        if times.isna().any() or times.nunique() < 2:
            continue
        codes = pd.factorize(times, sort=True)[0]
        steps = np.sign(np.diff(codes))
        sorted_share = max(float((steps >= 0).mean()), float((steps <= 0).mean()))
        is_named = bool(_NAMED_TIME.search(name)) and not _OF_A_PERSON.search(name)
        if sorted_share >= _IN_ORDER or is_named:
            why = "the file is in the order of it" if sorted_share >= _IN_ORDER else "its name is that of a time"
            found.append((is_named, sorted_share, name, why))
    return max(found)[2:] if found else None


def series_keys(rows: pd.DataFrame, dataset: Mapping[str, Any], time: str, *, complete: bool) -> SeriesKeys | None:
    """Return the keys for a series with even steps; None where the rows are none.

    Parameters
    ----------
    rows: as the source reads them.
    dataset: the section so far, with the target.
    complete: whether these are all rows; pieces of a file have gaps between them.
    """
    keys: dict[str, Any] = {}
    why: dict[str, str] = {}
    target = dataset["target"]
    base = {**dataset, "time": time, "window": {"lags": {target: [1]}}}
    groups = _groups(rows, base, time)
    if groups is None:
        return None
    if groups:
        keys["group"] = groups[0]
        why["group"] = f"{rows[groups[0]].nunique()} series, with one row for each {time}"
    if rows.duplicated([time, *groups]).any():
        keys["repeated"] = "last"
        why["repeated"] = "a few rows have the time of another one, and the last is kept"
    gap = _gap(rows, base | keys)
    if gap is None or rows[time].nunique() < _FEWEST_TIMES:
        return None
    if gap or not complete:
        keys["fill"] = "drop"
        why["fill"] = gap or "rows that lack a lag are left out"
    lags, step = _lags(rows, time, groups)
    keys["window"] = {"lags": {target: lags}, "horizon": 1}
    why["window"] = f"the step is {step}"
    return SeriesKeys(keys, why)


def _groups(rows: pd.DataFrame, base: Mapping[str, Any], time: str) -> list[str] | None:
    """Return the column that tells series apart; an empty list for one series, None where times repeat otherwise."""
    if rows.duplicated([time]).mean() <= _REPEATED:
        return []
    config = _DATASET.validate_python(base)
    apart = [
        str(name) for name in rows.columns if str(name) not in config.drop and tells_apart(rows, str(name), config)
    ]
    return [min(apart, key=lambda name: rows[name].nunique())] if apart else None


def _gap(rows: pd.DataFrame, dataset: Mapping[str, Any]) -> str | None:
    """Return what the first gap of a series is, empty where there is none; None where most rows lack their past."""
    try:
        in_order(rows, _DATASET.validate_python(dataset))
        return ""
    except DataError as error:
        found = str(error)
    try:
        kept = len(in_order(rows, _DATASET.validate_python({**dataset, "fill": "drop"})))
    except DataError:
        return None
    return found.split(": leave out", maxsplit=1)[0].split(": ", 1)[-1] if kept >= _REGULAR * len(rows) else None


def _lags(rows: pd.DataFrame, time: str, groups: Sequence[str]) -> tuple[list[int], str]:
    """Return the lags of the last three steps, and of a day, a week and a year where the series is long enough."""
    times = pd.to_datetime(as_time_text(rows[time]), format="ISO8601")
    series = times.groupby([rows[name] for name in groups]) if groups else [((), times)]
    ordered = [part.drop_duplicates().sort_values() for _, part in series]
    step = pd.concat([part.diff() for part in ordered]).mode()[0]
    longest = max(map(len, ordered))
    if step >= 28 * _DAY:  # months, quarters, years
        periods = [round(365 * _DAY / step)]
    elif step == _DAY and not set(times.dt.dayofweek) & {5, 6}:
        periods = [5]  # business days
    else:
        periods = [round(period / step) for period in _PERIODS]
    lags = sorted({1, 2, 3} | {lag for lag in periods if lag > 3 and lag <= longest // 5})
    return [lag for lag in lags if lag <= max(1, longest // 5)], _words(step)


def _words(step: pd.Timedelta) -> str:
    if step >= 28 * _DAY:
        return f"about {round(step / (30.4 * _DAY))} month(s)"
    return next(
        (
            f"{round(step / length)} {unit}{'' if step == length else 's'}"
            for unit, length in (("day", _DAY), ("hour", _HOUR), ("minute", _HOUR / 60))
            if step % length == pd.Timedelta(0)
        ),
        str(step),
    )
