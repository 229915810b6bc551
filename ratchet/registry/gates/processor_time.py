"""The processor time of a call, which does not depend on what else the machine does."""

from __future__ import annotations

import statistics
import time
import timeit
from collections.abc import Callable

# The least of several medians: other processes can only add to a call, by emptying its caches.
_MEDIANS = 5
_CALLS = 7


def processor_ms(call: Callable[[], object]) -> float:
    """Return the milliseconds of processor time that a call takes, as the least of several medians.

    The clock counts the calling thread alone, so the call is kept from computing in other threads.
    """
    import joblib
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), joblib.parallel_config(backend="sequential"):
        call()
        return min(_median(call) for _ in range(_MEDIANS)) * 1000


def _median(call: Callable[[], object]) -> float:
    return statistics.median(timeit.repeat(call, timer=time.thread_time, number=1, repeat=_CALLS))
