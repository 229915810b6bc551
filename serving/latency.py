"""Latency percentiles of the last minutes, in constant memory and mergeable over workers."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence

# Upper bounds from 0.1 ms to 100 s, each 10 % above the one before: a percentile is right to 10 %.
BOUNDS = tuple(1e-4 * 1.1**step for step in range(146))
WINDOW = 300.0
_SLOT = 10.0


class LatencyWindow:
    """Counts of latencies by bucket, in slots of ten seconds that are forgotten after five minutes."""

    def __init__(self) -> None:
        self._slots: dict[int, list[int]] = {}

    def add(self, seconds: float) -> None:
        """Count one request."""
        slot = int(time.monotonic() / _SLOT)
        counts = self._slots.get(slot)
        if counts is None:
            self._slots = {s: c for s, c in self._slots.items() if s > slot - WINDOW / _SLOT}
            counts = self._slots[slot] = [0] * (len(BOUNDS) + 1)
        counts[bisect_left(BOUNDS, seconds)] += 1

    def counts(self) -> list[int]:
        """How many requests of the last minutes fell into each bucket."""
        oldest = int(time.monotonic() / _SLOT) - WINDOW / _SLOT
        recent = [counts for slot, counts in list(self._slots.items()) if slot > oldest]
        return add_counts([[0] * (len(BOUNDS) + 1), *recent])


def add_counts(many: Iterable[Sequence[int]]) -> list[int]:
    """Counts of several windows as one."""
    return [sum(column) for column in zip(*many, strict=True)]


def percentiles(counts: Sequence[int]) -> dict[str, float | int | None]:
    """The number of requests and the 50th, 95th and 99th percentile in milliseconds, None where there were none."""
    total = sum(counts)
    result: dict[str, float | int | None] = {"requests": total}
    for percent in (50, 95, 99):
        result[f"p{percent}"] = _percentile(counts, math.ceil(total * percent / 100)) if total else None
    return result


def _percentile(counts: Sequence[int], rank: int) -> float:
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= rank:
            return round(BOUNDS[min(bucket, len(BOUNDS) - 1)] * 1000, 3)
    return round(BOUNDS[-1] * 1000, 3)
