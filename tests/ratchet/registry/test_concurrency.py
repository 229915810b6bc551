"""Eight processes that promote different versions at once, in thirty rounds."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest

from ratchet.errors import RatchetError
from ratchet.registry.doctor import examine
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.ratchet.registry.conftest import Watcher, register

PROCESSES, ROUNDS = 8, 30


def _promoter(settings: Settings, model: str, number: int, start: Any, orders: Any, answers: Any) -> None:
    """Promote this process's own version in each round, with the expected version from its queue."""
    pointer = ProductionPointer(settings, model)
    pointer.current()
    while (expected := orders.get()) != "stop":
        start.wait(120)
        try:
            version = str(number + 2 if expected != str(number + 2) else 1)
            pointer.promote(version, "race", f"process {number}", expected=expected)
            answers.put(("won", version))
        except RatchetError as error:
            answers.put(("lost", str(error)))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", ["on_sqlite", pytest.param("on_postgresql", marks=pytest.mark.exhaustive)])
def test_of_eight_concurrent_promotions_one_succeeds_and_the_others_raise(
    place: str, request: pytest.FixtureRequest
) -> None:
    settings: Settings = request.getfixturevalue(place)
    model = register(settings, PROCESSES + 1)
    pointer = ProductionPointer(settings, model)
    pointer.promote("1", "first", "test")
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(PROCESSES), context.Queue()
    orders = [context.Queue() for _ in range(PROCESSES)]
    workers = [
        context.Process(target=_promoter, args=(settings, model, number, start, orders[number], answers), daemon=True)
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    try:
        with Watcher(settings, model) as watcher:
            for turn in range(ROUNDS):
                before = pointer.current()
                assert before is not None
                for queue in orders:
                    queue.put(before.version)
                results = [answers.get(timeout=120) for _ in range(PROCESSES)]
                won = [version for outcome, version in results if outcome == "won"]
                reasons = [reason for outcome, reason in results if outcome == "lost"]
                assert len(won) == 1, (turn, results)
                assert all("another process promoted a version meanwhile" in r or "already" in r for r in reasons), (
                    reasons
                )
                assert pointer.in_production() == pointer.with_alias() == won
                assert examine(pointer) == []
    finally:
        for queue in orders:
            queue.put("stop")
        for worker in workers:
            worker.join(30)
            worker.kill()  # without effect on one that has ended
    assert len(watcher.seen) > ROUNDS
    assert all(len(found) == 1 for found in watcher.seen), "a reader saw none or two"
    completed = [entry for entry in pointer.ledger.history() if entry.state == "completed"]
    assert len(completed) == ROUNDS + 1
    assert len({entry.token for entry in completed}) == ROUNDS + 1
    assert [entry.from_version for entry in completed[:-1]] == [entry.to_version for entry in completed[1:]]
