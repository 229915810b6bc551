"""Cron expressions follow crontab(5)."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from ratchet.config.cron import next_time

WEDNESDAY = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)


def times(expression: str, count: int, after: datetime = WEDNESDAY) -> list[str]:
    found, at = [], after.timestamp()
    for _ in range(count):
        at = next_time(expression, at)
        found.append(f"{datetime.fromtimestamp(at, UTC):%a %d %b %H:%M}")
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 3 * * *", ["Thu 19 Nov 03:00", "Fri 20 Nov 03:00"]),
        ("*/15 * * * *", ["Wed 18 Nov 12:15", "Wed 18 Nov 12:30", "Wed 18 Nov 12:45"]),
        ("5 0,6 * 12 *", ["Tue 01 Dec 00:05", "Tue 01 Dec 06:05", "Wed 02 Dec 00:05"]),
        ("30 2 1-1 * *", ["Tue 01 Dec 02:30", "Fri 01 Jan 02:30"]),
        ("30 2 1 * *", ["Tue 01 Dec 02:30", "Fri 01 Jan 02:30"]),
        ("0 0 29 2 *", ["Tue 29 Feb 00:00"]),
    ],
)
def test_the_five_fields_are_minute_hour_day_month_and_weekday(expression: str, expected: list[str]) -> None:
    assert times(expression, len(expected)) == expected


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", "Sun"),
        ("7", "Sun"),
        ("SUN", "Sun"),
        ("mon,Wed", "Mon Wed"),
        ("1-5", "Mon Tue Wed Thu Fri"),
        ("mon-fri", "Mon Tue Wed Thu Fri"),
        ("0-2", "Mon Tue Sun"),
        ("5-7", "Fri Sat Sun"),
        ("fri-sun", "Fri Sat Sun"),
        ("0-6", "Mon Tue Wed Thu Fri Sat Sun"),
        ("*", "Mon Tue Wed Thu Fri Sat Sun"),
        ("*/2", "Tue Thu Sat Sun"),
        ("1-5/2", "Mon Wed Fri"),
        ("fri-mon", "Mon Fri Sat Sun"),
    ],
)
def test_weekdays_count_from_sunday(weekday: str, days: str) -> None:
    sunday = datetime(2026, 11, 15, 12, 0, tzinfo=UTC)
    two_weeks = times(f"0 3 * * {weekday}", 2 * len(days.split()), after=sunday)
    assert [at.split()[0] for at in two_weeks] == days.split() * 2


def test_a_day_matches_the_day_of_the_month_or_the_weekday_where_both_are_restricted() -> None:
    assert times("0 3 1 * 1", 3) == ["Mon 23 Nov 03:00", "Mon 30 Nov 03:00", "Tue 01 Dec 03:00"]
    assert times("0 3 */2 * 1", 2) == ["Mon 23 Nov 03:00", "Mon 07 Dec 03:00"], (
        "*/2 starts with *, so both have to match"
    )
    assert times("0 3 30 2 1", 2) == ["Mon 01 Feb 03:00", "Mon 08 Feb 03:00"]


def test_the_next_time_is_later_than_the_given_instant() -> None:
    due = datetime(2026, 11, 19, 3, 0, tzinfo=UTC)
    assert next_time("0 3 * * *", due.timestamp() - 1) == due.timestamp()
    assert next_time("0 3 * * *", due.timestamp()) == due.timestamp() + 86400


def test_times_are_in_utc_and_ignore_the_time_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert times("0 3 * * *", 1) == ["Thu 19 Nov 03:00"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_zero_stands_for_the_current_time() -> None:
    now = time.time()
    assert now < next_time("* * * * *", 0.0) <= now + 61


@pytest.mark.parametrize(
    "expression",
    ["", "* * *", "* * * * * *", "60 * * * *", "0 24 * * *", "0 3 * * 8", "0 3 L * *", "R 3 * * *", "@daily"],
)
def test_an_invalid_expression_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(ValueError, match="is not a cron expression.*: expected five fields, such as '0 3") as caught:
        next_time(expression, 0.0)
    assert repr(expression) in str(caught.value)


@pytest.mark.parametrize("expression", ["0 3 30 2 *", "0 0 31 4,6,9,11 *"])
def test_an_expression_that_never_fires_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="never fires: no date matches it"):
        next_time(expression, 0.0)
