from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from ratchet.inference import worker_cutover
from ratchet.inference.worker_cutover import CUTOVER_DELAY, Agreement, ServedVersion, WorkerCutover, WorkerState

ONE, TWO, THREE = (ServedVersion(str(number), f"{number}" * 64) for number in (1, 2, 3))


class Peer:
    """Another worker: a process that calls the methods of its part in the cut-overs."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_run_peer, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def send(self, *call: Any) -> None:
        self._pipe.send(call)

    def receive(self) -> Any:
        assert self._pipe.poll(30), "the other worker does not respond"
        return self._pipe.recv()

    def call(self, *call: Any) -> Any:
        self.send(*call)
        return self.receive()

    def start(self, folder: Path, serving: ServedVersion | None = None) -> Peer:
        """Take part in the cut-overs of a folder, and serve a version."""
        self.call("start", folder)
        if serving:
            assert self.call("join", serving) == serving
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.join(10)


def _run_peer(pipe: Connection) -> None:
    cutover: Any = None
    while True:
        try:
            name, *values = pipe.recv()
        except EOFError:
            return
        if name == "start":
            cutover = WorkerCutover(values[0])
            pipe.send(os.getpid())
        elif name == "delay":
            worker_cutover.CUTOVER_DELAY = values[0]
            pipe.send(None)
        else:
            pipe.send(getattr(cutover, name)(*values))


@contextlib.contextmanager
def peers(count: int) -> Iterator[list[Peer]]:
    """Other workers, killed at the end."""
    made = [Peer() for _ in range(count)]
    try:
        yield made
    finally:
        for peer in made:
            peer.kill()


@pytest.fixture(scope="module")
def processes() -> Iterator[list[Peer]]:
    with peers(2) as made:
        yield made


@pytest.fixture
def pair(processes: list[Peer], folder: Path) -> Iterator[list[Peer]]:
    """Two workers that serve version 1."""
    yield [peer.start(folder, ONE) for peer in processes]
    for peer in processes:
        peer.call("leave")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "iris"


@pytest.fixture
def worker(folder: Path) -> Iterator[WorkerCutover]:
    """This process as a worker that serves nothing yet."""
    made = WorkerCutover(folder)
    yield made
    made.leave()


def test_a_single_worker_serves_the_version_it_asks_for(worker: WorkerCutover) -> None:
    assert worker.served_by_peers() is None
    assert worker.agreement() is None
    assert worker.join(ONE) == ONE
    (state,) = worker.states()
    assert (state.pid, state.serving, state.staged) == (os.getpid(), ONE, None)


def test_a_single_worker_cuts_over_when_it_has_staged_a_version(worker: WorkerCutover) -> None:
    worker.join(ONE)
    assert worker.propose() is None
    worker.stage(TWO)
    before = time.monotonic()
    agreement = worker.propose()
    assert agreement
    assert agreement.version == TWO
    assert before + CUTOVER_DELAY <= agreement.at <= time.monotonic() + CUTOVER_DELAY
    assert worker.propose() == agreement == worker.agreement()
    worker.serve(TWO)
    assert (worker.state.serving, worker.state.staged) == (TWO, None)


def test_all_workers_cut_over_at_one_instant(pair: list[Peer]) -> None:
    first, second = pair
    first.call("stage", TWO)
    assert first.call("propose") is None, "the second is not ready"
    second.call("stage", TWO)
    agreement = second.call("propose")
    assert agreement.version == TWO
    assert agreement.at > time.monotonic() - 1
    assert first.call("propose") == agreement
    for peer in pair:
        peer.call("serve", TWO)
    assert [state.serving for state in first.call("states")] == [TWO, TWO]


def test_workers_that_propose_at_the_same_time_agree_on_one_instant(pair: list[Peer]) -> None:
    for version in (TWO, ONE, TWO, ONE, TWO):
        for peer in pair:
            peer.call("stage", version)
        for peer in pair:
            peer.send("propose")
        first, second = (peer.receive() for peer in pair)
        assert first == second
        assert first.version == version
        for peer in pair:
            peer.call("serve", version)


def test_no_worker_cuts_over_while_one_is_not_ready(pair: list[Peer], worker: WorkerCutover) -> None:
    assert worker.join(ONE) == ONE
    for peer in pair:
        peer.call("stage", TWO)
    assert [peer.call("propose") for peer in pair] == [None, None]
    worker.stage(THREE)
    assert [peer.call("propose") for peer in pair] == [None, None], "it has staged another version"
    assert worker.propose() is None
    worker.stage(TWO)
    assert pair[0].call("propose").version == TWO


def test_a_cutover_waits_for_a_worker_that_is_starting(pair: list[Peer], folder: Path) -> None:
    starting = WorkerCutover(folder)
    for peer in pair:
        peer.call("stage", TWO)
    assert pair[0].call("propose") is None
    assert starting.join(ONE) == ONE
    starting.leave()
    assert pair[0].call("propose").version == TWO


def test_a_cutover_does_not_wait_for_a_worker_that_was_killed(folder: Path, worker: WorkerCutover) -> None:
    worker.join(ONE)
    with peers(1) as (victim,):
        victim.start(folder, ONE)
        worker.stage(TWO)
        assert worker.propose() is None
        victim.kill()
        agreement = worker.propose()
    assert agreement
    assert agreement.version == TWO
    assert [state.pid for state in worker.states()] == [os.getpid()]
    assert len(list(folder.glob("*.life"))) == 1, "its files are removed"
    assert {path.name for path in folder.glob("*.json")} == {f"{worker._name}.json", "cutover.json"}


def test_a_cutover_does_not_wait_for_a_worker_that_has_left(
    processes: list[Peer], folder: Path, worker: WorkerCutover
) -> None:
    worker.join(ONE)
    processes[0].start(folder, ONE)
    worker.stage(TWO)
    assert worker.propose() is None
    processes[0].call("leave")
    assert worker.propose() is not None


def test_a_cutover_waits_for_a_worker_that_hangs_until_its_heartbeat_times_out(
    pair: list[Peer], worker: WorkerCutover, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.join(ONE)
    worker.stage(TWO)
    assert worker.propose() is None
    monkeypatch.setattr(worker_cutover, "HEARTBEAT_TIMEOUT", 0.0)
    assert worker.propose() is not None
    assert [state.pid for state in worker.states()] == [os.getpid()]
    monkeypatch.undo()
    assert len(worker.states()) == 3, "it counts again after its next heartbeat"


def test_a_staged_version_can_be_withdrawn_before_the_agreement(pair: list[Peer]) -> None:
    first, second = pair
    first.call("stage", TWO)
    assert first.call("withdraw") is None
    second.call("stage", TWO)
    assert second.call("propose") is None
    assert [state.staged for state in first.call("states") if state.staged] == [TWO]


def test_a_staged_version_cannot_be_withdrawn_after_the_agreement(pair: list[Peer]) -> None:
    first, second = pair
    for peer in pair:
        peer.call("stage", TWO)
    agreement = first.call("propose")
    assert second.call("withdraw") == agreement
    assert second.call("propose") == agreement


def test_the_next_agreement_waits_until_every_worker_has_read_the_last_one(pair: list[Peer]) -> None:
    first, slow = pair
    for peer in pair:
        peer.call("stage", TWO)
    agreement = first.call("propose")
    first.call("serve", TWO)
    first.call("stage", ONE)
    assert first.call("propose") is None, "the slow one still serves version 1, but has to cut over to version 2"
    assert slow.call("propose") == agreement
    slow.call("serve", TWO)
    slow.call("stage", ONE)
    assert slow.call("propose").version == ONE


def test_workers_that_withdraw_and_propose_at_the_same_time_have_one_result(pair: list[Peer]) -> None:
    first, second = pair
    serving = ONE
    for version in (TWO, ONE) * 10:
        if version == serving:
            continue
        for peer in pair:
            peer.call("stage", version)
        first.send("propose")
        second.send("withdraw")
        proposed, kept = first.receive(), second.receive()
        assert proposed == kept
        if proposed is None:
            assert first.call("withdraw") is None
            continue
        for peer in pair:
            peer.call("serve", version)
        serving = version


def test_a_new_worker_gets_the_version_of_its_peers(pair: list[Peer], worker: WorkerCutover) -> None:
    assert worker.served_by_peers() == ONE
    assert worker.join(TWO) == ONE
    assert worker.state.serving is None, "it has to load that version first"
    assert worker.join(ONE) == ONE
    assert worker.state.serving == ONE
    agreement = worker.agreement()
    assert agreement
    assert agreement.version == ONE


def test_workers_that_start_at_the_same_time_serve_the_same_version(processes: list[Peer], tmp_path: Path) -> None:
    for attempt in range(5):
        for peer in processes:
            peer.start(tmp_path / str(attempt))
        wanted = [ONE, TWO]
        while True:
            for peer, version in zip(processes, wanted, strict=True):
                peer.send("join", version)
            joined = [peer.receive() for peer in processes]
            if joined == wanted:
                break
            wanted = joined
        assert joined[0] == joined[1]
        for peer in processes:
            peer.call("leave")


def test_an_agreement_of_earlier_workers_does_not_bind_a_new_one(processes: list[Peer], folder: Path) -> None:
    processes[0].start(folder, TWO)
    processes[0].call("leave")
    worker = WorkerCutover(folder)
    assert worker.agreement()
    assert worker.served_by_peers() is None
    assert worker.join(ONE) == ONE
    agreement = worker.agreement()
    assert agreement
    assert agreement.version == ONE
    worker.leave()


def test_a_worker_reads_the_facts_of_its_peers(pair: list[Peer], worker: WorkerCutover) -> None:
    worker.state.facts = {"latency": [1, 2, 3]}
    worker.state.answering = "1"
    worker.publish()
    (state,) = [state for state in pair[0].call("states") if state.pid == os.getpid()]
    assert (state.facts, state.answering) == ({"latency": [1, 2, 3]}, "1")


def test_a_worker_that_leaves_removes_its_files(pair: list[Peer], folder: Path) -> None:
    worker = WorkerCutover(folder)
    assert len(pair[0].call("states")) == 3
    worker.leave()
    assert len(pair[0].call("states")) == 2
    assert not list(folder.glob(f"{worker._name}*"))


@pytest.mark.parametrize("content", ["", "{", '{"release": {"vers'])
def test_a_truncated_file_is_ignored(folder: Path, worker: WorkerCutover, content: str) -> None:
    worker.join(ONE)
    (folder / "cutover.json").write_text(content)
    assert worker.agreement() is None
    (folder / f"{worker._name}.json").write_text(content)
    assert worker.states() == []
    worker.publish()
    assert len(worker.states()) == 1


def test_agreements_and_states_are_read_as_they_were_written(worker: WorkerCutover) -> None:
    agreement = Agreement(TWO, 12.5)
    worker._agree(agreement)
    assert worker.agreement() == agreement
    worker.state = WorkerState(os.getpid(), ONE, "1", TWO, {"a": 1})
    worker.publish()
    assert worker.states() == [worker.state]
