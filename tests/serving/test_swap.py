"""Promotions and rollbacks under load: no request is lost, and all workers swap at the same time."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from ratchet.inference.worker_cutover import CUTOVER_DELAY
from ratchet.settings import Settings
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.load import Request, load_on
from tests.serving.running import serving

POLL = 2.0
# Of most changes, and of each one: a machine that stalls delays a few of them.
OVERLAP, LONGEST_OVERLAP = 0.1, 0.5
DELAY, LONGEST_DELAY = POLL, 3 * POLL


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_promotions_and_rollbacks_under_load(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path, tmp_path: Path
) -> None:
    pointer = published(served_settings, *iris_models)
    moves: list[tuple[float, float, str]] = [(0.0, 0.0, "1")]
    with (
        serving(served_settings, pointer.model, output, RATCHET_POLL_INTERVAL=str(POLL)) as service,
        load_on(service.port, tmp_path / "load") as load,
    ):
        service.until(lambda: service.metric("ratchet_predictions_total") > 50)
        for turn in range(20):
            started = time.time()
            entry = pointer.promote("2", "turn", "test") if turn % 2 == 0 else pointer.rollback("turn", "test")
            moves.append((started, time.time(), entry.to_version))
            service.until(
                lambda version=entry.to_version: all(  # type: ignore[misc]
                    worker["version"] == version for worker in service.get("/health")["workers"]
                )
            )
        skew = service.metric("ratchet_served_version")
        swaps = service.metric("ratchet_swaps_total")
    assert load.rate >= 50
    assert [request for request in load.requests if request.status != 200] == []
    assert {request.version for request in load.answered if request.answered < moves[1][0]} == {"1"}
    changes = changes_of(load.answered, moves)
    assert median(change.delay for change in changes) <= DELAY
    assert max(change.delay for change in changes) <= LONGEST_DELAY
    assert median(change.overlap for change in changes) <= OVERLAP
    assert max(change.overlap for change in changes) <= LONGEST_OVERLAP
    assert skew == 2 * 1  # two workers with version 1
    assert swaps == 2 * 21


class Change(NamedTuple):
    """A change of the answers after a promotion or rollback, in seconds.

    Attributes
    ----------
    delay: from the end of the promotion or rollback to the last request that the old version answers.
    overlap: from the first answer of the new version to the last answer of the old one.
    """

    delay: float
    overlap: float


def changes_of(answered: list[Request], moves: list[tuple[float, float, str]]) -> list[Change]:
    """The change of the answers after each move but the first."""
    changes = []
    for (_, _, old), (started, ended, new), (until, _, _) in zip(
        moves, moves[1:], [*moves[2:], (float("inf"), 0, "")], strict=False
    ):
        # The answers change at the earliest CUTOVER_DELAY after the start of the next move.
        window = [
            request for request in answered if started <= request.sent and request.answered < until + CUTOVER_DELAY / 2
        ]
        by_old = [request for request in window if request.version == old]
        first = min(request.answered for request in window if request.version == new)
        last = max(request.answered for request in by_old)
        changes.append(Change(max(request.sent for request in by_old) - ended, last - first))
    assert len(changes) == len(moves) - 1
    return changes
