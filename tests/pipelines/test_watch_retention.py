"""The watcher starts retention each hour, and continues whatever becomes of it."""

from __future__ import annotations

import os
import time

import pytest

from pipelines import watch
from ratchet.loop.retention import NOTHING_PAST_LIMITS
from tests.pipelines.watched_model import SLEEP, WatchedModel, check_until, is_alive, python

MOVE = tuple(python("print('12 rows moved into the archive')"))


@pytest.fixture
def limited(watched: WatchedModel) -> WatchedModel:
    """A model in a home whose settings limit what is kept."""
    watched.settings = watched.settings.model_copy(update={"retention_days": 30.0})
    return watched


def test_retention_starts_once_an_hour_for_all_watchers_of_a_home(limited: WatchedModel) -> None:
    first, second = (limited.watcher(SLEEP, retention=MOVE) for _ in range(2))
    check_until(first, lambda: "retention: 12 rows moved into the archive" in limited.lines)
    for watcher in (first, second):
        watcher.check()
        assert watcher._retaining is None
    log = limited.settings.home / "watch" / "retention.log"
    for moved in (-2 * watch._RETENTION_EVERY, 2 * watch._RETENTION_EVERY):  # an hour ago, or by a clock that was wrong
        limited.lines.clear()
        os.utime(log, (time.time() + moved,) * 2)
        check_until(second, lambda: "retention: 12 rows moved into the archive" in limited.lines)


def test_without_limits_retention_does_not_start(watched: WatchedModel) -> None:
    watcher = watched.watcher(SLEEP, retention=MOVE)
    watcher.check()
    assert watcher._retaining is None


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (tuple(python("print('error: the archive is down'); raise SystemExit(2)")), "the archive is down"),
        (("/nowhere/python",), "cannot be started"),
    ],
)
def test_retention_that_fails_is_logged_and_the_watcher_continues(
    limited: WatchedModel, command: tuple[str, ...], line: str
) -> None:
    limited.opened()
    watcher = limited.watcher(SLEEP, retention=command)
    check_until(watcher, lambda: any(line in each for each in limited.lines))
    assert watcher._training is not None


def test_retention_that_had_nothing_to_do_is_not_logged(limited: WatchedModel) -> None:
    watcher = limited.watcher(SLEEP, retention=tuple(python(f"print({NOTHING_PAST_LIMITS!r})")))
    watcher.check()
    assert watcher.wait()
    assert not any(line.startswith("retention") for line in limited.lines)


def test_a_single_check_waits_for_retention_and_a_stop_ends_it(limited: WatchedModel) -> None:
    watcher = limited.watcher(SLEEP, retention=MOVE)
    watcher.check_or_raise()
    assert watcher.wait()
    assert "retention: 12 rows moved into the archive" in limited.lines
    (limited.settings.home / "watch" / "retention.log").unlink()
    stopped = limited.watcher(SLEEP, retention=tuple(SLEEP))
    stopped.check()
    assert stopped._retaining is not None
    child = stopped._retaining.process.pid
    stopped.stop()
    assert not is_alive(child)
