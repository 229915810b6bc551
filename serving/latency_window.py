"""Latency percentiles of the last minutes, in constant memory and mergeable over workers."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np

# Upper bounds of buckets from 0.1 ms to 100 s in steps of 10 %, which is the precision of a percentile.
BOUNDS = tuple(1e-4 * 1.1**step for step in range(146))
WINDOW_SECONDS = 300.0
_SLOT_SECONDS = 10.0
_SLOTS = WINDOW_SECONDS / _SLOT_SECONDS


class LatencyWindow:
    """Counts of latencies by bucket, in slots of ten seconds that are dropped after five minutes."""

    def __init__(self) -> None:
        self._slots: dict[int, list[int]] = {}

    def add_all(self, latencies: Sequence[float]) -> None:
        """Count requests that have ended within the last seconds."""
        slot = int(time.monotonic() / _SLOT_SECONDS)
        counts = self._slots.get(slot)
        if counts is None:
            self._slots = {s: c for s, c in self._slots.items() if s > slot - _SLOTS}
            counts = self._slots[slot] = [0] * (len(BOUNDS) + 1)
        for bucket, count in enumerate(np.bincount(np.searchsorted(BOUNDS, latencies)).tolist()):
            counts[bucket] += count

    def counts(self) -> list[int]:
        """Return the number of requests in the window by bucket."""
        oldest = int(time.monotonic() / _SLOT_SECONDS) - _SLOTS
        recent = [counts for slot, counts in list(self._slots.items()) if slot > oldest]
        return add_counts([[0] * (len(BOUNDS) + 1), *recent])


def add_counts(windows: Iterable[Sequence[int]]) -> list[int]:
    """Return the sum of the counts of several windows."""
    return [sum(bucket) for bucket in zip(*windows, strict=True)]


def percentiles(counts: Sequence[int]) -> dict[str, float | int | None]:
    """Return the number of requests, and their 50th, 95th and 99th percentile in ms; None without requests."""
    cumulative = list(accumulate(counts))
    total = cumulative[-1]
    result: dict[str, float | int | None] = {"requests": total}
    for percent in (50, 95, 99):
        bucket = bisect_left(cumulative, math.ceil(total * percent / 100))
        result[f"p{percent}"] = round(BOUNDS[min(bucket, len(BOUNDS) - 1)] * 1000, 3) if total else None
    return result
