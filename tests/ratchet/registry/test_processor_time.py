"""The latency check: it refuses slow models, and no model for a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from ratchet.model.package.sealed_package import Package, load_package
from ratchet.registry.gates import GateInput
from ratchet.registry.gates.package import latency
from ratchet.registry.gates.processor_time import processor_ms
from tests.fitted import Trained


def compute(milliseconds: float) -> None:
    """Take this much processor time of the calling thread."""
    end = time.thread_time() + milliseconds / 1000
    while time.thread_time() < end:
        pass


class Computing:
    """A model that takes some processor time for a prediction."""

    def __init__(self, milliseconds: float) -> None:
        self._milliseconds = milliseconds

    def predict(self, features: Any) -> Any:
        compute(self._milliseconds)
        return np.zeros(len(features))


class Parallel(Computing):
    """A model that computes in several threads, as a random forest with ``n_jobs`` does."""

    def predict(self, features: Any) -> Any:
        share = self._milliseconds / 4
        joblib.Parallel(n_jobs=4, require="sharedmem")(joblib.delayed(compute)(share) for _ in range(4))
        return np.zeros(len(features))


@pytest.fixture
def busy() -> Iterator[None]:
    """Four processes that never rest, on the only processor that this thread may use."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usual)})
    command = [sys.executable, "-c", "print('ready', flush=True)\nwhile True: pass"]
    neighbours = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    try:
        for neighbour in neighbours:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
        yield
    finally:
        os.sched_setaffinity(0, usual)
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.communicate()


@pytest.fixture
def asked(iris: Trained, iris_package: tuple[Path, str]) -> GateInput:
    """The check of a model that may take 20 ms of processor time."""
    package: Package = replace(load_package(*iris_package), onnx=None)
    promote = iris.config.promote.model_copy(update={"latency_ms": 20.0})
    config = iris.config.model_copy(update={"promote": promote})
    return GateInput(config, package, None, iris.holdout, None, None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("busy")
def test_a_busy_machine_refuses_no_model(asked: GateInput) -> None:
    model: Any = Computing(8)
    check = latency(replace(asked, challenger=replace(asked.challenger, model=model)))
    assert check.passed, check.reason
    assert check.reason.endswith("ms of processor time a row, allowed are 20 ms")


@pytest.mark.parametrize("kind", [Computing, Parallel])
def test_a_slow_model_is_refused_also_if_it_computes_in_other_threads(asked: GateInput, kind: Any) -> None:
    check = latency(replace(asked, challenger=replace(asked.challenger, model=kind(24))))
    assert not check.passed
    assert check.figure is not None
    assert check.figure >= 24


def test_an_export_computes_in_the_thread_that_is_timed(asked: GateInput, iris_package: tuple[Path, str]) -> None:
    exported = latency(replace(asked, challenger=load_package(*iris_package)))
    assert exported.passed
    assert exported.figure is not None
    assert 0 < exported.figure < 20


def test_the_least_of_several_medians_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of slow calls, shorter than the measurement, has no effect."""
    durations = iter([0.0] + [9.0] * 20 + [2.0] * 15)
    now = 0.0

    def call() -> None:
        nonlocal now
        now += next(durations)

    monkeypatch.setattr(time, "thread_time", lambda: now)
    assert processor_ms(call) == 2000.0
