"""Where folds are fitted: in this process, in others on this machine, or on a Dask cluster.

What is submitted is pure, so a fold whose worker died is fitted again somewhere else, and gives the same.
"""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any, Self

from ratchet.config import TrainingConfig
from ratchet.config.tuning import Compute
from ratchet.experiments.tuning.engine import Engine
from ratchet.experiments.tuning.scoring import FoldedRows, FoldScore, Score, quiet_fits, score_quietly

# How often a fold is tried whose worker dies; a neighbour's death on the same machine counts too.
MOST_ATTEMPTS = 4
# What a process of the pool was given when it began.
_HERE: dict[str, Any] = {}


def open_engine(compute: Compute, data: FoldedRows, score: Score) -> Engine:
    """The engine that a config names; nothing is begun until it is entered."""
    if compute.engine == "dask":
        from ratchet.experiments.tuning.dask import Dask

        return Dask(compute, data, score)
    return Processes(compute.workers, data, score) if compute.engine == "processes" else Serial(data, score)


class Serial:
    """One fold after the other, in this process."""

    def __init__(self, data: FoldedRows, score: Score) -> None:
        self._data, self._score = data, score
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        self._entered.enter_context(quiet_fits())
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def submit(self, config: TrainingConfig, fold: int) -> Future[FoldScore]:
        """Fit a fold at once."""
        future: Future[FoldScore] = Future()
        try:
            future.set_result(self._score(self._data, config, fold))
        except Exception as error:
            future.set_exception(error)
        return future

    def is_lost(self, _error: BaseException) -> bool:
        """Never: the worker is this process."""
        return False

    def check(self) -> None:
        """Nobody else is needed."""


class Processes:
    """Processes of this machine; they get the rows when they begin, and are begun again when one dies."""

    def __init__(self, workers: int, data: FoldedRows, score: Score) -> None:
        self._workers, self._held = workers, (data, score)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *raised: object) -> None:
        if any(raised):  # what is still being fitted is of no use, and may take long
            for process in list((self._pool_now._processes or {}).values()):
                process.terminate()
        self._pool_now.shutdown(wait=True, cancel_futures=True)

    def submit(self, config: TrainingConfig, fold: int) -> Future[FoldScore]:
        """Begin a fold in the next process that is free."""
        try:
            return self._pool_now.submit(_score_held, config, fold)
        except BrokenExecutor:
            self._pool_now.shutdown(wait=False)
            self._begin()
            return self._pool_now.submit(_score_held, config, fold)

    def is_lost(self, error: BaseException) -> bool:
        """A process that dies takes the folds of all processes of its pool with it."""
        return isinstance(error, BrokenExecutor)

    def check(self) -> None:
        """Processes that die are noticed by their folds."""

    @property
    def pids(self) -> list[int]:
        """The processes that are there now."""
        return list(self._pool_now._processes or ())

    @property
    def _pool_now(self) -> ProcessPoolExecutor:
        if self._pool is None:
            raise RuntimeError("an engine is entered before it is used")
        return self._pool

    def _begin(self) -> None:
        # Not forked: this process has threads, and a fork copies their locks as they are.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self._workers, context, initializer=_hold, initargs=self._held)


def _hold(data: FoldedRows, score: Score) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; the first one ends these
    _HERE.update(data=data, score=score)


def _score_held(config: TrainingConfig, fold: int) -> FoldScore:
    return score_quietly(_HERE["score"], _HERE["data"], config, fold)
