"""Cron expressions of five fields, read by croniter."""

from __future__ import annotations

import re
import time

_VALUE = r"(?:\d+|[a-z]{3})"
_ITEM = rf"(?:\*/\d+|{_VALUE}(?:-{_VALUE})?(?:/\d+)?)"
# croniter also accepts seconds, years, @daily, L, W, #, H and random fields.
_FIELD = re.compile(rf"\*|{_ITEM}(?:,{_ITEM})*", re.IGNORECASE)
# croniter reads 1-1 as *.
_ONE_VALUE = re.compile(r"\b(\w+)-\1\b(?:/\d+)?", re.IGNORECASE)


def next_time(expression: str, after: float) -> float:
    """Return the first time after an instant that an expression matches.

    Where both the day of the month and the weekday are restricted, a day has to match one of them (POSIX, crontab).

    Parameters
    ----------
    expression: five fields (minute, hour, day, month, weekday), in UTC; weekdays 0 and 7 are Sunday.
    after: seconds since the epoch; 0 for now.

    Returns
    -------
    Seconds since the epoch.

    Raises
    ------
    ValueError: it is not a cron expression, or no date matches it, as 30 February.
    """
    from croniter import CroniterBadDateError, croniter

    fields = _ONE_VALUE.sub(r"\1", expression).split()
    expected = f"{expression!r} is not a cron expression{{}}: expected five fields, such as '0 3 * * *'"
    if len(fields) != 5 or not all(map(_FIELD.fullmatch, fields)):
        raise ValueError(expected.format(""))
    try:
        return float(croniter(" ".join(fields), after or time.time(), implement_cron_bug=True).get_next())
    except CroniterBadDateError:
        raise ValueError(f"the cron expression {expression!r} never fires: no date matches it") from None
    except ValueError as error:
        raise ValueError(expected.format(f" ({error})")) from None
