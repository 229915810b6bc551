"""Cron expressions, read by APScheduler."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ratchet.errors import ConfigError

# cron counts the days of the week from Sunday, APScheduler from Monday: names mean the same to both.
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY = rf"[0-7]|{'|'.join(_DAYS)}"
_SPAN = re.compile(rf"(?:\*|(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?)(?:/(?P<step>[1-7]))?")


def next_time(expression: str, after: float) -> float:
    """The first time after an instant that an expression names.

    Parameters
    ----------
    expression: five fields (minute, hour, day, month, weekday), in UTC.
    after: seconds since the epoch; 0 for now.

    Returns
    -------
    Seconds since the epoch.

    Raises
    ------
    ValueError: it is no cron expression, or names no day that there is, such as February the 30th.
    ConfigError: APScheduler, which reads expressions, is not installed.
    """
    trigger = _trigger(expression)
    begun = datetime.fromtimestamp(after, UTC) if after else datetime.now(UTC)
    found = trigger.get_next_fire_time(begun, begun)
    if found is None:
        raise ValueError(f"the cron expression {expression!r} never fires: there is no such day")
    return float(found.timestamp())


def _trigger(expression: str) -> Any:
    try:
        from apscheduler.triggers.combining import OrTrigger
        from apscheduler.triggers.cron import CronTrigger
    except ModuleNotFoundError:
        raise ConfigError("cron needs apscheduler, which is not installed: run make train") from None
    fields = expression.split()
    try:
        if len(fields) == 5:
            fields[4] = ",".join(_weekdays(span) for span in fields[4].lower().split(","))
        triggers = [CronTrigger.from_crontab(" ".join(some), timezone=UTC) for some in _either_day(fields)]
        return triggers[0] if len(triggers) == 1 else OrTrigger(triggers)
    except ValueError as error:
        raise ValueError(
            f"{expression!r} is no cron expression ({error}): expected five fields, such as '0 3 * * *'"
        ) from None


def _either_day(fields: list[str]) -> list[list[str]]:
    """Where both the day of the month and the weekday are given, either will do (POSIX, crontab)."""
    if len(fields) != 5 or fields[2].startswith("*") or fields[4].startswith("*"):
        return [fields]
    return [[*fields[:4], "*"], [*fields[:2], "*", *fields[3:]]]


def _weekdays(span: str) -> str:
    """One weekday, or a span of them with or without a step, spelled out by name."""
    found = _SPAN.fullmatch(span)
    if found is None or (found["step"] and found["first"] and not found["last"]):
        raise ValueError(f"{span!r} is no weekday, such as 1, mon-fri or */2; 0 and 7 are Sunday")
    if found["first"] is None and found["step"] is None:
        return span
    first, last = _number(found["first"] or "0"), _number(found["last"] or found["first"] or "6")
    # A week may end with Sunday, too.
    last = 7 if last == 0 < first else last
    if last < first:
        raise ValueError(f"{span!r} ends before it begins")
    return ",".join(_DAYS[day % 7] for day in range(first, last + 1, int(found["step"] or 1)))


def _number(day: str) -> int:
    return int(day) if day.isdigit() else _DAYS.index(day)
