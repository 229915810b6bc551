"""Promotions and rollbacks under load: no request is lost, and all workers swap at the same time."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from ratchet.inference.worker_cutover import CUTOVER_DELAY
from ratchet.settings import Settings
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.load import Request, load_on
from tests.serving.running import serving

POLL = 2.0
OVERLAP = 0.1


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
    assert load.rate >= 200
    assert [request for request in load.requests if request.status != 200] == []
    for request in load.answered:
        assert request.version in in_production(moves, request.sent - POLL, request.answered)
    assert longest_overlap(load.answered, moves) <= OVERLAP
    assert skew == 2 * 1  # two workers with version 1
    assert swaps == 2 * 21


def in_production(moves: list[tuple[float, float, str]], since: float, until: float) -> set[str]:
    """The versions that were in Production within an interval."""
    spans = [
        (started, later[1], version) for (started, _, version), later in pairwise([*moves, (0.0, float("inf"), "")])
    ]
    return {version for started, ended, version in spans if started <= until and ended >= since}


def longest_overlap(answered: list[Request], moves: list[tuple[float, float, str]]) -> float:
    """The longest time, in seconds, from the first answer of a new version to the last answer of the old one."""
    overlaps = []
    for (_, _, old), (started, _, new), (until, _, _) in zip(
        moves, moves[1:], [*moves[2:], (float("inf"), 0, "")], strict=False
    ):
        # The answers change at the earliest CUTOVER_DELAY after the start of the next move.
        window = [
            request for request in answered if started <= request.sent and request.answered < until + CUTOVER_DELAY / 2
        ]
        last = max(request.answered for request in window if request.version == old)
        first = min(request.answered for request in window if request.version == new)
        overlaps.append(last - first)
    assert len(overlaps) == len(moves) - 1
    return max(overlaps)
