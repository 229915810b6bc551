"""How a watcher's children and the watcher itself end, with small processes in place of runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ratchet.errors import ConfigError
from tests.conftest import ROOT
from tests.pipelines.desk import SLEEP, Desk, child_of, is_alive, looked_until, python, until


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
