"""The table of training runs: one for each watermark and config."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from ratchet.loop.training_runs import RunState, TrainingRun, TrainingRuns
from ratchet.store.database import Store
from tests.conftest import ROOT
from tests.store_rows import url_of


@pytest.fixture
def runs(store: Store) -> TrainingRuns:
    return TrainingRuns(store, "iris")


def opened(runs: TrainingRuns, watermark: int, digest: str = "config") -> TrainingRun:
    return runs.open(watermark, digest, "200 new labels")


def test_a_run_is_stored_before_it_starts(runs: TrainingRuns) -> None:
    before = time.time()
    run = opened(runs, 200)
    assert (run.model, run.watermark, run.config_hash, run.reason) == ("iris", 200, "config", "200 new labels")
    assert (run.state, run.attempts, run.ended_at) == ("open", 0, None)
    assert before - 5 < run.created_at < time.time() + 5
    assert run.when.endswith("+00:00")
    assert runs.unfinished() == runs.last() == runs.find(200, "config") == run
    assert runs.history(10) == [run]


def test_a_resumed_run_uses_the_config_of_the_new_attempt(runs: TrainingRuns) -> None:
    run = runs.begin(opened(runs, 200), "changed")
    assert (run.state, run.config_hash, run.attempts) == ("open", "changed", 1)
    assert runs.get(run.id) == run


def test_an_open_run_fails_if_there_is_a_run_of_its_new_config(runs: TrainingRuns) -> None:
    crashed = opened(runs, 200)
    done = runs.end(opened(runs, 200, "changed"), "refused", "no better")
    found = runs.begin(crashed, "changed")
    assert (found.state, runs.get(done.id)) == ("failed", done)
    assert f"run {done.id} had the new one" in str(found.outcome)


def test_a_decision_based_on_an_older_run_opens_no_run(runs: TrainingRuns) -> None:
    first = runs.open(200, "config", "200 new labels", after=0)
    assert runs.open(205, "config", "drift", after=0) is None, "another process was faster"
    assert runs.last() == first
    runs.end(first, "refused", "no better")
    assert runs.open(400, "config", "200 new labels", after=first.id) is not None


def test_only_a_failed_run_can_be_reopened(runs: TrainingRuns) -> None:
    failed = runs.end(opened(runs, 200), "failed", "dataset.path: no such file")
    again = runs.reopen(failed)
    assert (again.state, again.attempts, again.ended_at) == ("open", 0, None)
    refused = runs.end(again, "refused", "no better")
    assert runs.reopen(refused) == refused


def test_a_postponed_attempt_does_not_count(runs: TrainingRuns) -> None:
    run = opened(runs, 200)
    for _ in range(25):
        run = runs.postpone(runs.begin(run, "config"))
    assert (run.state, run.attempts) == ("open", 0)


def test_before_the_first_run_there_is_none(runs: TrainingRuns) -> None:
    assert runs.unfinished() is None
    assert runs.last() is None
    assert runs.find(0, "config") is None
    assert runs.history(10) == []


def test_a_watermark_and_config_have_one_run(runs: TrainingRuns) -> None:
    first = opened(runs, 200)
    assert runs.open(200, "config", "again") is None
    runs.end(first, "refused", "no better")
    assert runs.open(200, "config", "and again") is None
    assert opened(runs, 200, "another").id > first.id
    assert opened(runs, 400).watermark == 400


def test_each_model_has_its_own_runs(runs: TrainingRuns, store: Store) -> None:
    others = TrainingRuns(store, "wine")
    mine, theirs = opened(runs, 200), opened(others, 200)
    assert (runs.last(), others.last()) == (mine, theirs)
    assert runs.lease_name != others.lease_name
    assert mine.operation_id != theirs.operation_id


def test_every_step_of_a_run_is_stored(runs: TrainingRuns) -> None:
    run = runs.begin(runs.begin(opened(runs, 200), "config"), "config")
    assert run.attempts == 2
    assert runs.update(run, snapshot="abc").snapshot == "abc"
    ended = runs.end(run, "promoted", "better by 0.1", version="4", run_id="r1")
    assert (ended.state, ended.outcome, ended.version, ended.run_id) == ("promoted", "better by 0.1", "4", "r1")
    assert (ended.attempts, ended.snapshot) == (2, "abc"), "what was known before stays"
    assert ended.ended_at >= ended.created_at
    assert runs.last() == ended
    assert runs.unfinished() is None


@pytest.mark.parametrize("state", ["promoted", "refused", "unchanged", "failed"])
def test_a_run_that_has_ended_does_not_change(runs: TrainingRuns, state: RunState) -> None:
    run = opened(runs, 200)
    ended = runs.end(run, state, "so it is", version="4")
    assert runs.end(run, "failed", "too late", version="5") == ended
    assert runs.begin(run, run.config_hash) == ended
    assert runs.update(run, snapshot="abc") == ended
    assert runs.last() == ended


def test_the_oldest_unfinished_run_comes_first_and_the_newest_is_the_last(runs: TrainingRuns) -> None:
    first, second, third = (opened(runs, watermark) for watermark in (200, 400, 300))
    assert runs.unfinished() == first
    runs.end(first, "failed", "it broke")
    assert runs.unfinished() == second
    assert runs.last() == third
    assert [run.id for run in runs.history(2)] == [third.id, second.id]


def test_threads_open_the_same_run_once(store: Store) -> None:
    gate, found = threading.Barrier(4), list[TrainingRun | None]()

    def want() -> None:
        own = Store(url_of(store))
        gate.wait(20)
        found.append(TrainingRuns(own, "iris").open(200, "config", "r"))
        own.engine.dispose()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len([run for run in found if run is not None]) == 1
    assert len(found) == 4


_WANT = """
import sys
from ratchet.store.database import Store
from ratchet.loop.training_runs import TrainingRuns
runs = TrainingRuns(Store(sys.argv[1]), "iris")
print("ready", flush=True)
sys.stdin.readline()
for watermark in range(20):
    run = runs.open(watermark, "config", "r")
    if run is not None:
        runs.begin(run, run.config_hash)
        print(watermark)
"""


def test_processes_open_each_of_the_same_runs_once(store: Store) -> None:
    command = [sys.executable, "-c", _WANT, url_of(store)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [int(word) for process in processes for word in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(won) == list(range(20))
    history = TrainingRuns(store, "iris").history(100)
    assert sorted(run.watermark for run in history) == list(range(20))
    assert {run.attempts for run in history} == {1}
