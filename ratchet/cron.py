"""Cron expressions, read by APScheduler."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from ratchet.errors import ConfigError

# cron counts the days of the week from Sunday, APScheduler from Monday: names mean the same to both.
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")


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
        from apscheduler.triggers.cron import CronTrigger
    except ModuleNotFoundError:
        raise ConfigError("cron needs apscheduler, which is not installed: run make train") from None
    fields = expression.split()
    if len(fields) == 5:
        fields[4] = re.sub(r"(?<![/\d])[0-7](?!\d)", lambda found: _DAYS[int(found[0])], fields[4])
    try:
        return CronTrigger.from_crontab(" ".join(fields), timezone=UTC)
    except ValueError as error:
        raise ValueError(
            f"{expression!r} is no cron expression ({error}): expected five fields, such as '0 3 * * *'"
        ) from None
