from __future__ import annotations

import numpy as np
import pytest

from serving.latency_window import BOUNDS, WINDOW_SECONDS, LatencyWindow, add_counts, percentiles


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test sets."""
    now = [1000.0]
    monkeypatch.setattr("serving.latency_window.time.monotonic", lambda: now[0])
    return now


def window_of(*seconds: float) -> LatencyWindow:
    window = LatencyWindow()
    for value in seconds:
        window.add_all([value])
    return window


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_accurate_to_ten_percent(seed: int) -> None:
    seconds = np.random.default_rng(seed).lognormal(np.log(0.005), 1.5, 5000).clip(2e-4, 90)
    found = percentiles(window_of(*seconds.tolist()).counts())
    assert found["requests"] == 5000
    for percent in (50, 95, 99):
        expected = float(np.percentile(seconds, percent, method="inverted_cdf")) * 1000
        assert found[f"p{percent}"] == pytest.approx(expected, rel=0.1)


def test_a_percentile_is_never_below_the_true_value() -> None:
    for seconds in (0.00011, 0.0042, 0.5, 99.0):
        found = percentiles(window_of(seconds).counts())
        assert seconds * 1000 <= (found["p50"] or 0) <= seconds * 1100
        assert found["p50"] == found["p95"] == found["p99"]


def test_one_slow_request_among_a_hundred_is_not_in_the_99th_percentile() -> None:
    assert (percentiles(window_of(*[0.001] * 99, 10.0).counts())["p99"] or 0) < 2
    assert (percentiles(window_of(*[0.001] * 98, 10.0, 10.0).counts())["p99"] or 0) > 9000


def test_without_requests_the_percentiles_are_none() -> None:
    assert percentiles(LatencyWindow().counts()) == {"requests": 0, "p50": None, "p95": None, "p99": None}


def test_values_beyond_the_bounds_are_counted_at_the_bounds() -> None:
    assert percentiles(window_of(0.0).counts())["p50"] == pytest.approx(BOUNDS[0] * 1000)
    assert percentiles(window_of(1e6).counts())["p50"] == pytest.approx(BOUNDS[-1] * 1000, rel=1e-3)


def test_the_windows_of_workers_add_up_to_one_sample() -> None:
    seconds = np.random.default_rng(0).lognormal(np.log(0.01), 1.0, 900).tolist()
    parts = [window_of(*seconds[start::3]).counts() for start in range(3)]
    assert add_counts(parts) == window_of(*seconds).counts()


def test_latencies_are_dropped_after_five_minutes_and_not_before(clock: list[float]) -> None:
    window = window_of(1.0)
    clock[0] += WINDOW_SECONDS - 10
    window.add_all([0.001])
    assert percentiles(window.counts())["requests"] == 2
    clock[0] += 20
    found = percentiles(window.counts())
    assert found["requests"] == 1
    assert (found["p99"] or 0) < 2
    clock[0] += WINDOW_SECONDS
    assert percentiles(window.counts())["requests"] == 0


def test_a_window_does_not_grow_with_time(clock: list[float]) -> None:
    window = LatencyWindow()
    for _ in range(2000):
        window.add_all([0.001])
        clock[0] += 5
    assert len(window._slots) <= WINDOW_SECONDS / 10
    assert percentiles(window.counts())["requests"] == pytest.approx(WINDOW_SECONDS / 5, abs=2)
