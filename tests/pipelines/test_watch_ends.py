"""The end of a watcher and of its child processes, with small processes in place of runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ratchet.errors import ConfigError
from tests.conftest import ROOT
from tests.pipelines.watched_model import SLEEP, WatchedModel, check_until, child_of, is_alive, python, until
from tests.process_groups import kill_group


def test_a_killed_run_is_logged_and_resumed(watched: WatchedModel) -> None:
    run = watched.opened()
    watcher = watched.watcher(SLEEP)
    watcher.check()
    killed = child_of(watcher)
    watched.runs.begin(run, run.config_hash)
    os.kill(killed, signal.SIGKILL)
    check_until(watcher, lambda: watcher._training is not None and child_of(watcher) != killed)
    model = watched.config.model
    assert watched.lines[1:] == [
        f"{model}: run {run.id} was killed by signal 9; it will be resumed",
        f"{model}: run {run.id} (watermark 200) resumes: 200 new labels",
    ]


def test_a_run_that_stops_is_logged_with_its_last_line_and_retried(watched: WatchedModel) -> None:
    run = watched.opened()
    watcher = watched.watcher(python("print('error: MLflow is down'); raise SystemExit(2)"))
    watcher.check()
    assert not watcher.wait()
    assert watched.lines[1] == f"{watched.config.model}: run {run.id} stopped: MLflow is down; it will be resumed"
    watcher.check()
    assert len(watched.lines) == 2, "it pauses, since the cause can last"
    check_until(watcher, lambda: len(watched.lines) > 2)
    log = watched.settings.home / "watch" / f"run-{run.id}.log"
    watcher.wait()
    assert log.read_text().splitlines() == ["error: MLflow is down"] * 2, "the output of both attempts is kept"


def test_a_run_that_stops_without_output_is_logged_as_such(watched: WatchedModel) -> None:
    watched.opened()
    watcher = watched.watcher(python("raise SystemExit(3)"))
    watcher.check()
    assert not watcher.wait()
    assert watched.lines[1].endswith("stopped: no output; it will be resumed")


def test_stopping_ends_the_child_processes_and_the_next_watcher_resumes_the_run(watched: WatchedModel) -> None:
    run = watched.opened()
    watcher = watched.watcher(SLEEP)
    watcher.check()
    child = child_of(watcher)
    assert is_alive(child)
    watcher.stop()
    assert not is_alive(child)
    watcher.stop()
    after_restart = watched.watcher(watched.ending("promoted"))
    after_restart.check()
    assert after_restart.wait()
    found = watched.runs.find(run.watermark, run.config_hash)
    assert found is not None
    assert found.state == "promoted"


def test_a_child_that_ignores_sigterm_is_killed(watched: WatchedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.watch._GRACE", 0.1)
    watched.opened()
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " print('ready', flush=True); time.sleep(600)"
    )
    watcher = watched.watcher(python(program))
    watcher.check()
    child = child_of(watcher)
    log = watched.settings.home / "watch" / "run-1.log"
    check_until(watcher, lambda: log.read_text() == "ready\n")
    watcher.stop()
    assert not is_alive(child)


def test_an_error_is_logged_once_and_retried(watched: WatchedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.opened()
    watcher = watched.watcher(watched.ending("promoted"))

    def refuse() -> None:
        raise ConfigError("MLflow is\nnot there")

    with monkeypatch.context() as broken:
        broken.setattr(watcher._decider, "decide", refuse)
        for _ in range(3):
            watcher.check()
        with pytest.raises(ConfigError):
            watcher.check_or_raise()
    assert watched.lines == [f"{watched.config.model}: MLflow is not there; will retry"]
    watcher.check()
    assert watcher.wait()
    assert watched.lines[-1] == f"{watched.config.model}: the report was drawn"


WATCH = """
import sys
from pathlib import Path
from pipelines.watch import watch
from ratchet.config.files import load_config
from ratchet.settings import load_settings
config = load_config(Path(sys.argv[1]), [f"model={sys.argv[2]}", "triggers.interval=0.05"])
watch(config, load_settings(), sys.argv[3:], [], print, once=False)
"""


def test_sigterm_leaves_no_process_behind(watched: WatchedModel) -> None:
    run = watched.opened()
    config = ROOT / "configs" / "continuous_training.yaml"
    own = {
        "RATCHET_HOME": str(watched.settings.home),
        "RATCHET_DATABASE_URL": watched.settings.store_url,
        "MLFLOW_TRACKING_URI": watched.settings.tracking_uri,
    }
    command = [sys.executable, "-c", WATCH, str(config), watched.config.model]
    child = python("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    watching = subprocess.Popen(
        [*command, *child],
        cwd=ROOT,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    log = watched.settings.home / "watch" / f"run-{run.id}.log"
    try:
        until(lambda: log.exists() and log.read_text().endswith("\n"), 60)
        process = int(log.read_text())
        assert is_alive(process)
        watching.send_signal(signal.SIGTERM)
        lines = watching.communicate(timeout=60)[0].splitlines()
    finally:
        kill_group(watching.pid)
        watching.wait(30)
    assert watching.returncode == 0, lines
    assert not is_alive(process)
    assert "stopping" in lines[-1]
    assert len(lines) == 3, "start, run, end"
