"""The watcher, with small processes in place of the runs that it begins."""

from __future__ import annotations

from typing import NoReturn

import pytest

from pipelines.watch import watch
from ratchet.errors import RegistryError
from ratchet.loop.decisions import Decider
from ratchet.loop.heartbeat import last_beat
from ratchet.store import leases
from tests.pipelines.desk import REPORT, SLEEP, Desk, child_of, python


def test_what_is_the_same_as_before_is_told_once(desk: Desk) -> None:
    watcher = desk.watcher(SLEEP)
    for _ in range(3):
        watcher.look()
    assert len(desk.said) == 1
    assert desk.said[0].endswith("no champion yet, so that there is nothing to watch: train one first")
    assert watcher.wait(), "there was nothing to do, and so nothing went wrong"


def test_each_look_is_written_down_the_one_that_decides_nothing_and_the_one_beside_a_run(desk: Desk) -> None:
    watcher = desk.watcher(SLEEP, interval=2.5)
    watcher.look()
    first = last_beat(desk.store, desk.config.model)
    assert first is not None
    assert first.interval == 2.5
    desk.opened()
    watcher.look()
    assert child_of(watcher)
    second = last_beat(desk.store, desk.config.model)
    watcher.look()
    third = last_beat(desk.store, desk.config.model)
    assert second is not None
    assert third is not None
    assert first.at < second.at < third.at


def test_a_watcher_that_cannot_decide_has_promised_to_look_and_has_not_looked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_: Decider) -> NoReturn:
        raise RegistryError("MLflow cannot be reached")

    monkeypatch.setattr(Decider, "decide", down)
    watcher = desk.watcher(SLEEP, interval=2.5)
    watcher.look()
    promised = last_beat(desk.store, desk.config.model)
    assert promised is not None
    assert promised.interval == 2.5
    watcher.look()
    assert last_beat(desk.store, desk.config.model) == promised
    assert desk.said[0].endswith("MLflow cannot be reached; tried again later")


def test_looking_once_promises_no_other_look(desk: Desk) -> None:
    watch(desk.config, desk.settings, SLEEP, REPORT, once=True)
    found = last_beat(desk.store, desk.config.model)
    assert found is not None
    assert found.interval == 0


def test_a_run_is_made_by_the_command_and_its_end_is_told(desk: Desk) -> None:
    run = desk.opened()
    watcher = desk.watcher(desk.ending("promoted", "better by 0.1"))
    watcher.look()
    assert watcher.wait()
    model = desk.config.model
    assert desk.said == [
        f"{model}: run {run.id} (watermark 200) is begun: 200 new labels",
        f"{model}: run {run.id} promoted version 7: better by 0.1",
        f"{model}: the report is written",
    ]


def test_one_run_is_made_at_a_time(desk: Desk) -> None:
    desk.opened()
    watcher = desk.watcher(SLEEP)
    watcher.look()
    first = child_of(watcher)
    desk.opened(400)
    for _ in range(3):
        watcher.look()
    assert child_of(watcher) == first
    assert len(desk.said) == 1


@pytest.mark.parametrize(
    ("state", "well", "reported"),
    [("promoted", True, True), ("refused", True, True), ("unchanged", True, False), ("failed", False, False)],
)
def test_a_report_is_written_of_every_run_that_made_a_version(
    desk: Desk, state: str, well: bool, reported: bool
) -> None:
    desk.opened()
    watcher = desk.watcher(desk.ending(state))
    watcher.look()
    assert watcher.wait() == well
    assert f"{desk.config.model}: run 1 {state} version 7: so it is" in desk.said
    assert (f"{desk.config.model}: the report is written" in desk.said) == reported


def test_no_report_is_written_where_the_config_asks_for_none(desk: Desk) -> None:
    desk.opened()
    desk.config = desk.config.model_copy(update={"report": False})
    watcher = desk.watcher(desk.ending("promoted"))
    watcher.look()
    assert watcher.wait()
    assert desk.said[-1] == f"{desk.config.model}: run 1 promoted version 7: so it is"


def test_a_report_that_fails_is_told_by_its_last_line_and_the_run_stays_well(desk: Desk) -> None:
    desk.opened()
    broken = python("print('working'); print('error: no room on the disk'); raise SystemExit(2)")
    watcher = desk.watcher(desk.ending("refused"), broken)
    watcher.look()
    assert watcher.wait()
    assert desk.said[-1] == f"{desk.config.model}: no room on the disk"


def test_the_end_of_a_run_is_told_of_that_run_and_not_of_the_newest(desk: Desk) -> None:
    first, second = desk.opened(200), desk.opened(400)
    watcher = desk.watcher(desk.ending("promoted"))
    watcher.look()
    assert watcher.wait(), "the other one has not even begun"
    assert f"{desk.config.model}: run {first.id} promoted version 7: so it is" in desk.said
    watcher.look()
    assert watcher.wait()
    assert f"{desk.config.model}: run {second.id} promoted version 7: so it is" in desk.said


def test_a_run_that_failed_long_ago_is_no_fault_of_a_look_that_finds_nothing_to_do(desk: Desk) -> None:
    desk.runs.end(desk.opened(), "failed", "it broke")
    watcher = desk.watcher(SLEEP)
    watcher.look()
    assert watcher.wait()


def test_a_run_that_somebody_else_makes_is_left_to_them(desk: Desk) -> None:
    desk.opened()
    watcher = desk.watcher(SLEEP)
    with leases.held(desk.store, desk.runs.lease_name) as lease:
        watcher.look()
        watcher.look()
        assert watcher._training is None
    assert desk.said == [f"{desk.config.model}: run 1 (watermark 200) is under way by {lease.holder}"]
