"""The watcher, with small processes in place of the runs that it starts."""

from __future__ import annotations

from typing import NoReturn

import pytest

from pipelines.watch import watch
from ratchet.errors import RegistryError
from ratchet.loop.decisions import Decider
from ratchet.loop.heartbeat import last_beat
from ratchet.store import leases
from tests.pipelines.watched_model import REPORT, SLEEP, WatchedModel, child_of, python


def test_a_repeated_line_is_logged_once(watched: WatchedModel) -> None:
    watcher = watched.watcher(SLEEP)
    for _ in range(3):
        watcher.check()
    assert len(watched.lines) == 1
    assert watched.lines[0].endswith("no champion yet, so there is nothing to watch: train one first")
    assert watcher.wait(), "there was no run that could fail"


def test_every_check_stores_a_heartbeat_without_a_decision_and_during_a_run_too(watched: WatchedModel) -> None:
    watcher = watched.watcher(SLEEP, interval=2.5)
    watcher.check()
    first = last_beat(watched.store, watched.config.model)
    assert first is not None
    assert first.interval == 2.5
    watched.opened()
    watcher.check()
    assert child_of(watcher)
    second = last_beat(watched.store, watched.config.model)
    watcher.check()
    third = last_beat(watched.store, watched.config.model)
    assert second is not None
    assert third is not None
    assert first.at < second.at < third.at


def test_a_watcher_that_cannot_decide_stores_the_heartbeat_of_its_start_alone(
    watched: WatchedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_: Decider) -> NoReturn:
        raise RegistryError("MLflow cannot be reached")

    monkeypatch.setattr(Decider, "decide", down)
    watcher = watched.watcher(SLEEP, interval=2.5)
    watcher.check()
    started = last_beat(watched.store, watched.config.model)
    assert started is not None
    assert started.interval == 2.5
    watcher.check()
    assert last_beat(watched.store, watched.config.model) == started
    assert watched.lines[0].endswith("MLflow cannot be reached; will retry")


def test_a_single_check_stores_an_interval_of_0(watched: WatchedModel) -> None:
    watch(watched.config, watched.settings, SLEEP, REPORT, watched.lines.append, once=True)
    found = last_beat(watched.store, watched.config.model)
    assert found is not None
    assert found.interval == 0


def test_a_run_is_made_by_the_command_and_its_end_is_logged(watched: WatchedModel) -> None:
    run = watched.opened()
    watcher = watched.watcher(watched.ending("promoted", "better by 0.1"))
    watcher.check()
    assert watcher.wait()
    model = watched.config.model
    assert watched.lines == [
        f"{model}: run {run.id} (watermark 200) starts: 200 new labels",
        f"{model}: run {run.id} promoted version 7: better by 0.1",
        f"{model}: the report was drawn",
    ]


def test_one_run_is_made_at_a_time(watched: WatchedModel) -> None:
    watched.opened()
    watcher = watched.watcher(SLEEP)
    watcher.check()
    first = child_of(watcher)
    watched.opened(400)
    for _ in range(3):
        watcher.check()
    assert child_of(watcher) == first
    assert len(watched.lines) == 1


@pytest.mark.parametrize(
    ("state", "well", "reported"),
    [("promoted", True, True), ("refused", True, True), ("unchanged", True, False), ("failed", False, False)],
)
def test_a_report_is_drawn_after_every_run_with_a_new_version(
    watched: WatchedModel, state: str, well: bool, reported: bool
) -> None:
    watched.opened()
    watcher = watched.watcher(watched.ending(state))
    watcher.check()
    assert watcher.wait() == well
    assert f"{watched.config.model}: run 1 {state} version 7: as expected" in watched.lines
    assert (f"{watched.config.model}: the report was drawn" in watched.lines) == reported


def test_no_report_is_drawn_if_the_config_disables_it(watched: WatchedModel) -> None:
    watched.opened()
    watched.config = watched.config.model_copy(update={"report": False})
    watcher = watched.watcher(watched.ending("promoted"))
    watcher.check()
    assert watcher.wait()
    assert watched.lines[-1] == f"{watched.config.model}: run 1 promoted version 7: as expected"


def test_a_report_that_fails_is_logged_with_its_last_line_and_the_run_still_succeeds(watched: WatchedModel) -> None:
    watched.opened()
    broken = python("print('working'); print('error: no room on the disk'); raise SystemExit(2)")
    watcher = watched.watcher(watched.ending("refused"), broken)
    watcher.check()
    assert watcher.wait()
    assert watched.lines[-1] == f"{watched.config.model}: no room on the disk"


def test_the_end_of_a_run_is_logged_for_that_run_and_not_for_the_newest(watched: WatchedModel) -> None:
    first, second = watched.opened(200), watched.opened(400)
    watcher = watched.watcher(watched.ending("promoted"))
    watcher.check()
    assert watcher.wait(), "the other run has not started"
    assert f"{watched.config.model}: run {first.id} promoted version 7: as expected" in watched.lines
    watcher.check()
    assert watcher.wait()
    assert f"{watched.config.model}: run {second.id} promoted version 7: as expected" in watched.lines


def test_an_earlier_failed_run_does_not_fail_a_check_with_nothing_to_do(watched: WatchedModel) -> None:
    watched.runs.end(watched.opened(), "failed", "it broke")
    watcher = watched.watcher(SLEEP)
    watcher.check()
    assert watcher.wait()


def test_a_run_under_way_in_another_process_is_not_started_again(watched: WatchedModel) -> None:
    watched.opened()
    watcher = watched.watcher(SLEEP)
    with leases.held(watched.store, watched.runs.lease_name) as lease:
        watcher.check()
        watcher.check()
        assert watcher._training is None
    assert watched.lines == [f"{watched.config.model}: run 1 (watermark 200) is under way by {lease.holder}"]
