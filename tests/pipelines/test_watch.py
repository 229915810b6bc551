"""The watcher, with small processes in place of the runs that it begins."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipelines.watch import Watcher, watch
from ratchet import leases
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.errors import ConfigError, RegistryError
from ratchet.loop.decisions import Decider
from ratchet.loop.heartbeat import last_beat
from ratchet.loop.training_runs import TrainingRun, TrainingRuns
from ratchet.settings import Settings
from ratchet.store import Store, open_store
from tests.conftest import ROOT
from tests.training_runs import config_for
from tests.unit.conftest import url_of


def python(program: str, *words: str) -> list[str]:
    """A command that takes milliseconds to begin."""
    return [sys.executable, "-I", "-S", "-c", program, *words]


# A run of continuous training, as far as the store shows it.
END = """
import sys, time
url, state, outcome, _, number = sys.argv[1:]
if url.startswith("sqlite"):
    import sqlite3
    store, mark = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30), "?"
else:
    import psycopg2
    store, mark = psycopg2.connect(url), "%s"
with store:
    store.cursor().execute(
        "UPDATE training_runs SET state = ?, outcome = ?, version = '7', ended_at = ?"
        " WHERE id = ?".replace("?", mark),
        (state, outcome, time.time(), number),
    )
"""
SLEEP = python("import time; print('working', flush=True); time.sleep(600)")
REPORT = python("print('a report')")


@dataclass
class Desk:
    """A model that is watched, in a home of its own, and what was told of it."""

    settings: Settings
    config: ContinuousTrainingConfig
    store: Store
    said: list[str] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def runs(self) -> TrainingRuns:
        return TrainingRuns(self.store, self.config.model)

    def watcher(self, command: list[str], report: list[str] = REPORT) -> Watcher:
        made = Watcher(self.config, self.settings, command, report, self.said.append)
        self.watchers.append(made)
        return made

    def opened(self, watermark: int = 200) -> TrainingRun:
        """A run that a trigger has asked for."""
        run = self.runs.open(watermark, "config", "200 new labels")
        assert run is not None
        return run

    def ending(self, state: str, outcome: str = "so it is") -> list[str]:
        """A command that ends the oldest open run."""
        return [sys.executable, *(["-I", "-S"] * self.store.is_sqlite), "-c", END, url_of(self.store), state, outcome]


@pytest.fixture
def desk(settings: Settings, tmp_path: Path, model: str) -> Iterator[Desk]:
    """The registry is the session's; the store, the home and the processes are this test's."""
    own = settings.model_copy(
        update={
            "home": tmp_path,
            "mlflow_uri": settings.tracking_uri,
            "database_url": Settings(home=tmp_path).store_url,
        }
    )
    config: Any = config_for(model, name="continuous_training")
    made = Desk(own, config, open_store(own))
    yield made
    for watcher in made.watchers:
        watcher.stop()
    made.store.engine.dispose()


def looked_until(watcher: Watcher, condition: Callable[[], object]) -> None:
    """Look again and again, as the scheduler does, until something is so."""

    def looked() -> object:
        watcher.look()
        return condition()

    until(looked, 20)


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def child_of(watcher: Watcher) -> int:
    assert watcher._training is not None
    return watcher._training.process.pid


def test_what_is_the_same_as_before_is_told_once(desk: Desk) -> None:
    watcher = desk.watcher(SLEEP)
    for _ in range(3):
        watcher.look()
    assert len(desk.said) == 1
    assert desk.said[0].endswith("no champion yet, so that there is nothing to watch: train one first")
    assert watcher.wait(), "there was nothing to do, and so nothing went wrong"


def test_each_look_is_written_down_the_one_that_decides_nothing_and_the_one_beside_a_run(desk: Desk) -> None:
    watcher = Watcher(desk.config, desk.settings, SLEEP, REPORT, desk.said.append, interval=2.5)
    desk.watchers.append(watcher)
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
    watcher = Watcher(desk.config, desk.settings, SLEEP, REPORT, desk.said.append, interval=2.5)
    desk.watchers.append(watcher)
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


def test_a_child_that_was_killed_is_told_and_its_run_picked_up(desk: Desk) -> None:
    run = desk.opened()
    watcher = desk.watcher(SLEEP)
    watcher.look()
    killed = child_of(watcher)
    desk.runs.begin(run, run.config_hash)
    os.kill(killed, signal.SIGKILL)
    looked_until(watcher, lambda: watcher._training is not None and child_of(watcher) != killed)
    model = desk.config.model
    assert desk.said[1:] == [
        f"{model}: run {run.id} was killed by signal 9; it is picked up again",
        f"{model}: run {run.id} (watermark 200) is picked up where it was left: 200 new labels",
    ]


def test_a_child_that_gives_up_is_told_by_its_last_line_and_tried_again(desk: Desk) -> None:
    run = desk.opened()
    watcher = desk.watcher(python("print('error: MLflow is down'); raise SystemExit(2)"))
    watcher.look()
    assert not watcher.wait()
    assert desk.said[1] == f"{desk.config.model}: run {run.id} did not end: MLflow is down; it is picked up again"
    watcher.look()
    assert len(desk.said) == 2, "what was in the way may still be: it pauses"
    looked_until(watcher, lambda: len(desk.said) > 2)
    log = desk.settings.home / "watch" / f"run-{run.id}.log"
    watcher.wait()
    assert log.read_text().splitlines() == ["error: MLflow is down"] * 2, "what both attempts said is kept"


def test_a_child_that_says_nothing_is_told_so(desk: Desk) -> None:
    desk.opened()
    watcher = desk.watcher(python("raise SystemExit(3)"))
    watcher.look()
    assert not watcher.wait()
    assert desk.said[1].endswith("did not end: it said nothing; it is picked up again")


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


def test_being_told_to_stop_ends_the_children_and_the_next_watcher_goes_on(desk: Desk) -> None:
    run = desk.opened()
    watcher = desk.watcher(SLEEP)
    watcher.look()
    child = child_of(watcher)
    assert is_alive(child)
    watcher.stop()
    assert not is_alive(child)
    watcher.stop()
    after_restart = desk.watcher(desk.ending("promoted"))
    after_restart.look()
    assert after_restart.wait()
    found = desk.runs.find(run.watermark, run.config_hash)
    assert found is not None
    assert found.state == "promoted"


def test_a_child_that_does_not_listen_is_ended_all_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.watch._GRACE", 0.1)
    desk.opened()
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    watcher = desk.watcher(python(deaf))
    watcher.look()
    child = child_of(watcher)
    log = desk.settings.home / "watch" / "run-1.log"
    looked_until(watcher, lambda: log.read_text() == "deaf\n")
    watcher.stop()
    assert not is_alive(child)


def test_what_is_in_the_way_is_told_once_and_looked_at_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.opened()
    watcher = desk.watcher(desk.ending("promoted"))

    def refuse() -> None:
        raise ConfigError("MLflow is\nnot there")

    with monkeypatch.context() as broken:
        broken.setattr(watcher._decider, "decide", refuse)
        for _ in range(3):
            watcher.look()
        with pytest.raises(ConfigError):
            watcher.step()
    assert desk.said == [f"{desk.config.model}: MLflow is not there; tried again later"]
    watcher.look()
    assert watcher.wait()
    assert desk.said[-1] == f"{desk.config.model}: the report is written"


WATCH = """
import sys
from pathlib import Path
from pipelines.watch import watch
from ratchet.config.files import load_config
from ratchet.settings import load_settings
config = load_config(Path(sys.argv[1]), [f"model={sys.argv[2]}", "triggers.interval=0.05"])
watch(config, load_settings(), sys.argv[3:], [], once=False)
"""


def test_a_watch_that_is_told_to_stop_leaves_no_process_behind(desk: Desk) -> None:
    run = desk.opened()
    config = ROOT / "configs" / "continuous_training.yaml"
    own = {
        "RATCHET_HOME": str(desk.settings.home),
        "RATCHET_DATABASE_URL": desk.settings.store_url,
        "MLFLOW_TRACKING_URI": desk.settings.tracking_uri,
    }
    command = [sys.executable, "-c", WATCH, str(config), desk.config.model]
    child = python("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    watching = subprocess.Popen(
        [*command, *child], cwd=ROOT, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    log = desk.settings.home / "watch" / f"run-{run.id}.log"
    until(lambda: log.exists() and log.read_text().endswith("\n"), 60)
    process = int(log.read_text())
    assert is_alive(process)
    watching.send_signal(signal.SIGTERM)
    said = watching.communicate(timeout=60)[0].splitlines()
    assert watching.returncode == 0, said
    assert not is_alive(process)
    assert "told to stop" in said[-1]
    assert len(said) == 3, "the beginning, the run, the end"
