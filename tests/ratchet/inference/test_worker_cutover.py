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

from ratchet.inference import worker_cutover as boards
from ratchet.inference.worker_cutover import NOTICE, Board, Cutover, Post, Release

ONE, TWO, THREE = (Release(str(number), f"{number}" * 64) for number in (1, 2, 3))


class Fellow:
    """Another worker: a process with a place on a board, which does as it is told."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_obey, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, *words: Any) -> None:
        self._pipe.send(words)

    def said(self) -> Any:
        assert self._pipe.poll(30), "the other worker does not answer"
        return self._pipe.recv()

    def ask(self, *words: Any) -> Any:
        self.tell(*words)
        return self.said()

    def join(self, folder: Path, serving: Release | None = None) -> Fellow:
        """Take a place on a board, and begin to serve something."""
        self.ask("join", folder)
        if serving:
            assert self.ask("enter", serving) == serving
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.join(10)


def _obey(pipe: Connection) -> None:
    board: Any = None
    while True:
        try:
            word, *values = pipe.recv()
        except EOFError:
            return
        if word == "join":
            board = Board(values[0])
            pipe.send(os.getpid())
        elif word == "notice":
            boards.NOTICE = values[0]
            pipe.send(None)
        elif word == "stage":
            board.mine.staged = values[0]
            board.post()
            pipe.send(None)
        else:
            pipe.send(getattr(board, word)(*values))


@contextlib.contextmanager
def fellows(count: int) -> Iterator[list[Fellow]]:
    """Other workers, gone at the end."""
    made = [Fellow() for _ in range(count)]
    try:
        yield made
    finally:
        for fellow in made:
            fellow.kill()


@pytest.fixture(scope="module")
def hired() -> Iterator[list[Fellow]]:
    with fellows(2) as made:
        yield made


@pytest.fixture
def pair(hired: list[Fellow], folder: Path) -> Iterator[list[Fellow]]:
    """Two workers that serve version 1."""
    yield [fellow.join(folder, ONE) for fellow in hired]
    for fellow in hired:
        fellow.ask("leave")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "iris"


def stage(board: Board, release: Release) -> None:
    board.mine.staged = release
    board.post()


def test_a_worker_by_itself_serves_what_it_wants(folder: Path) -> None:
    board = Board(folder)
    assert board.served() is None
    assert board.cutover() is None
    assert board.enter(ONE) == ONE
    (post,) = board.posts()
    assert (post.pid, post.serving, post.staged) == (os.getpid(), ONE, None)
    board.leave()


def test_a_worker_by_itself_cuts_over_when_it_is_ready(folder: Path) -> None:
    board = Board(folder)
    board.enter(ONE)
    assert board.propose() is None
    stage(board, TWO)
    before = time.monotonic()
    agreed = board.propose()
    assert agreed
    assert agreed.release == TWO
    assert before + NOTICE <= agreed.at <= time.monotonic() + NOTICE
    assert board.propose() == agreed == board.cutover()
    board.serve(TWO)
    assert (board.mine.serving, board.mine.staged) == (TWO, None)
    board.leave()


def test_all_workers_cut_over_at_one_instant(pair: list[Fellow]) -> None:
    first, second = pair
    first.ask("stage", TWO)
    assert first.ask("propose") is None, "the second is not ready"
    second.ask("stage", TWO)
    agreed = second.ask("propose")
    assert agreed.release == TWO
    assert agreed.at > time.monotonic() - 1
    assert first.ask("propose") == agreed
    for fellow in pair:
        fellow.ask("serve", TWO)
    assert [post.serving for post in first.ask("posts")] == [TWO, TWO]


def test_workers_that_agree_in_the_same_moment_agree_on_one_instant(pair: list[Fellow]) -> None:
    for release in (TWO, ONE, TWO, ONE, TWO):
        for fellow in pair:
            fellow.ask("stage", release)
        for fellow in pair:
            fellow.tell("propose")
        first, second = (fellow.said() for fellow in pair)
        assert first == second
        assert first.release == release
        for fellow in pair:
            fellow.ask("serve", release)


def test_nobody_cuts_over_while_one_is_not_ready(pair: list[Fellow], folder: Path) -> None:
    late = Board(folder)
    assert late.enter(ONE) == ONE
    for fellow in pair:
        fellow.ask("stage", TWO)
    assert [fellow.ask("propose") for fellow in pair] == [None, None]
    stage(late, THREE)
    assert [fellow.ask("propose") for fellow in pair] == [None, None], "it is ready for something else"
    assert late.propose() is None
    stage(late, TWO)
    assert pair[0].ask("propose").release == TWO
    late.leave()


def test_a_worker_that_is_still_starting_is_waited_for(pair: list[Fellow], folder: Path) -> None:
    starting = Board(folder)
    for fellow in pair:
        fellow.ask("stage", TWO)
    assert pair[0].ask("propose") is None
    assert starting.enter(ONE) == ONE
    starting.leave()
    assert pair[0].ask("propose").release == TWO


def test_a_worker_that_was_killed_is_not_waited_for(folder: Path) -> None:
    board = Board(folder)
    board.enter(ONE)
    with fellows(1) as (victim,):
        victim.join(folder, ONE)
        stage(board, TWO)
        assert board.propose() is None
        victim.kill()
        agreed = board.propose()
    assert agreed
    assert agreed.release == TWO
    assert [post.pid for post in board.posts()] == [os.getpid()]
    assert len(list(folder.glob("*.life"))) == 1, "what it left is removed"
    assert {path.name for path in folder.glob("*.json")} == {f"{board._name}.json", "cutover.json"}
    board.leave()


def test_a_worker_that_has_left_is_not_waited_for(hired: list[Fellow], folder: Path) -> None:
    board = Board(folder)
    board.enter(ONE)
    hired[0].join(folder, ONE)
    stage(board, TWO)
    assert board.propose() is None
    hired[0].ask("leave")
    assert board.propose() is not None
    board.leave()


def test_a_worker_that_hangs_is_waited_for_no_longer_than_the_silence(
    pair: list[Fellow], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(folder)
    board.enter(ONE)
    stage(board, TWO)
    assert board.propose() is None
    monkeypatch.setattr(boards, "SILENCE", 0.0)
    assert board.propose() is not None
    assert [post.pid for post in board.posts()] == [os.getpid()]
    monkeypatch.undo()
    assert len(board.posts()) == 3, "it is alive, and heard when it speaks again"
    board.leave()


def test_what_was_staged_can_be_withdrawn_before_it_was_agreed_on(pair: list[Fellow]) -> None:
    first, second = pair
    first.ask("stage", TWO)
    assert first.ask("withdraw") is None
    second.ask("stage", TWO)
    assert second.ask("propose") is None
    assert [post.staged for post in first.ask("posts") if post.staged] == [TWO]


def test_an_agreement_is_kept_by_who_wanted_to_withdraw(pair: list[Fellow]) -> None:
    first, second = pair
    for fellow in pair:
        fellow.ask("stage", TWO)
    agreed = first.ask("propose")
    assert second.ask("withdraw") == agreed
    assert second.ask("propose") == agreed


def test_the_next_agreement_waits_until_the_last_one_was_seen_by_all(pair: list[Fellow]) -> None:
    first, slow = pair
    for fellow in pair:
        fellow.ask("stage", TWO)
    agreed = first.ask("propose")
    first.ask("serve", TWO)
    first.ask("stage", ONE)
    assert first.ask("propose") is None, "the slow one serves version 1 still, but is bound to leave it"
    assert slow.ask("propose") == agreed
    slow.ask("serve", TWO)
    slow.ask("stage", ONE)
    assert slow.ask("propose").release == ONE


def test_who_withdraws_and_who_proposes_at_once_agree_on_what_happens(pair: list[Fellow]) -> None:
    first, second = pair
    serving = ONE
    for release in (TWO, ONE) * 10:
        if release == serving:
            continue
        for fellow in pair:
            fellow.ask("stage", release)
        first.tell("propose")
        second.tell("withdraw")
        proposed, kept = first.said(), second.said()
        assert proposed == kept
        if proposed is None:
            assert first.ask("withdraw") is None
            continue
        for fellow in pair:
            fellow.ask("serve", release)
        serving = release


def test_a_newcomer_gets_what_the_others_serve(pair: list[Fellow], folder: Path) -> None:
    newcomer = Board(folder)
    assert newcomer.served() == ONE
    assert newcomer.enter(TWO) == ONE
    assert newcomer.mine.serving is None, "it has to load that one first"
    assert newcomer.enter(ONE) == ONE
    assert newcomer.mine.serving == ONE
    agreed = newcomer.cutover()
    assert agreed
    assert agreed.release == ONE
    newcomer.leave()


def test_workers_that_start_at_once_serve_the_same(hired: list[Fellow], tmp_path: Path) -> None:
    for attempt in range(5):
        for fellow in hired:
            fellow.join(tmp_path / str(attempt))
        wanted = [ONE, TWO]
        while True:
            for fellow, release in zip(hired, wanted, strict=True):
                fellow.tell("enter", release)
            got = [fellow.said() for fellow in hired]
            if got == wanted:
                break
            wanted = got
        assert got[0] == got[1]
        for fellow in hired:
            fellow.ask("leave")


def test_an_agreement_of_workers_that_are_gone_binds_nobody(hired: list[Fellow], folder: Path) -> None:
    hired[0].join(folder, TWO)
    hired[0].ask("leave")
    board = Board(folder)
    assert board.cutover()
    assert board.served() is None
    assert board.enter(ONE) == ONE
    agreed = board.cutover()
    assert agreed
    assert agreed.release == ONE
    board.leave()


def test_a_worker_sees_the_facts_of_the_others(pair: list[Fellow], folder: Path) -> None:
    board = Board(folder)
    board.mine.facts = {"latency": [1, 2, 3]}
    board.mine.answering = "1"
    board.post()
    (seen,) = [post for post in pair[0].ask("posts") if post.pid == os.getpid()]
    assert (seen.facts, seen.answering) == ({"latency": [1, 2, 3]}, "1")
    board.leave()


def test_leaving_takes_a_worker_off_the_board(pair: list[Fellow], folder: Path) -> None:
    board = Board(folder)
    assert len(pair[0].ask("posts")) == 3
    board.leave()
    assert len(pair[0].ask("posts")) == 2
    assert not list(folder.glob(f"{board._name}*"))


@pytest.mark.parametrize("content", ["", "{", '{"release": {"vers'])
def test_a_file_that_was_cut_off_is_as_none(folder: Path, content: str) -> None:
    board = Board(folder)
    board.enter(ONE)
    (folder / "cutover.json").write_text(content)
    assert board.cutover() is None
    (folder / f"{board._name}.json").write_text(content)
    assert board.posts() == []
    board.post()
    assert len(board.posts()) == 1
    board.leave()


def test_what_is_written_is_read_as_it_was(folder: Path) -> None:
    board = Board(folder)
    cutover = Cutover(TWO, 12.5)
    board._agree(cutover)
    assert board.cutover() == cutover
    board.mine = Post(os.getpid(), ONE, "1", TWO, {"a": 1})
    board.post()
    assert board.posts() == [board.mine]
    board.leave()
