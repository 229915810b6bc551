"""Where folds are fitted: in this process, in others on this machine, or on a Dask cluster.

What is submitted is pure, so a fold whose worker died is fitted again somewhere else, and gives the same.
"""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol, Self

from ratchet.config import TrainingConfig
from ratchet.config.tuning import Compute
from ratchet.errors import UnavailableError
from ratchet.tuning.scoring import FoldedRows, FoldScore, quiet_fits

if TYPE_CHECKING:
    from distributed import Client

Score = Callable[[FoldedRows, TrainingConfig, int], FoldScore]
# How often a fold is tried whose worker dies; a neighbour's death on the same machine counts too.
MOST_ATTEMPTS = 4
_CONNECT = 15.0


class Engine(Protocol):
    """Fits folds; entered before the first, left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def submit(self, config: TrainingConfig, fold: int) -> Future[FoldScore]:
        """Begin a fold; what it raises is in the future."""
        ...

    def is_lost(self, error: BaseException) -> bool:
        """Whether a fold has failed for its worker's death, and can be begun again."""
        ...


def open_engine(compute: Compute, data: FoldedRows, score: Score) -> Engine:
    """The engine that a config names; nothing is begun until it is entered."""
    if compute.engine == "dask":
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


class Processes:
    """Processes of this machine; they get the rows when they begin, and are begun again when one dies."""

    def __init__(self, workers: int, data: FoldedRows, score: Score) -> None:
        self._workers, self._held = workers, (data, score)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
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


class Dask:
    """A Dask cluster: the one at an address, or one of this machine's that ends with the study."""

    def __init__(self, compute: Compute, data: FoldedRows, score: Score) -> None:
        self._compute, self._data, self._score = compute, data, score
        self._name = f"ratchet-rows-{uuid.uuid4().hex}"
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        self.client = self._connect()
        # A plugin and not ``scatter``: workers that come later get the rows too, and since no fold depends on what one
        # worker has, the scheduler gives it to whoever is free.
        self.client.register_plugin(_rows_on_workers(self._data, self._name), name=self._name)
        self._entered.callback(self._forget_rows)
        self._executor = self.client.get_executor(pure=False)  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def submit(self, config: TrainingConfig, fold: int) -> Future[FoldScore]:
        """Begin a fold where the scheduler finds room."""
        future: Future[FoldScore] = self._executor.submit(_score_on_worker, self._score, self._name, config, fold)
        return future

    def is_lost(self, error: BaseException) -> bool:
        """Dask begins a dead worker's folds again by itself; what it has given up on was lost too often.

        Raises
        ------
        UnavailableError: the scheduler is gone.
        """
        if isinstance(error, CancelledError) or self.client.status != "running":
            raise UnavailableError(
                f"the Dask scheduler at {self._place} is gone: bring it back and run the same command again,"
                " the study goes on where it was"
            ) from None
        return False

    def _forget_rows(self) -> None:
        with suppress(Exception):  # of a cluster that is gone there is nothing to be freed
            self.client.unregister_worker_plugin(self._name)

    @property
    def _place(self) -> str:
        return self._compute.address or "this machine"

    def _connect(self) -> Client:
        from distributed import Client

        address: Any = self._compute.address
        if address is None:
            address = self._entered.enter_context(self._cluster())
        try:
            client: Client = Client(address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
            self._entered.enter_context(client)
            return client
        except (OSError, ValueError) as error:
            self._entered.close()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnavailableError(
                f"compute.address: no Dask scheduler answers at {self._place} ({reason}): start one with"
                " `dask scheduler`, or leave the address out"
            ) from None

    def _cluster(self) -> Any:
        import dask
        from distributed import LocalCluster

        # Quiet, and without a page of its own: nothing listens but on loopback.
        self._entered.enter_context(dask.config.set({"distributed.admin.log-format": "%(message)s"}))
        return LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=self._compute.workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs="CRITICAL",
        )


def _rows_on_workers(data: FoldedRows, name: str) -> Any:
    """What hands the rows to each worker of a cluster, those that come later too."""
    from distributed import WorkerPlugin

    class Rows(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            _HERE[name] = data

        def teardown(self, worker: Any) -> None:
            _HERE.pop(name, None)

    return Rows()


_HERE: dict[str, Any] = {}


def _hold(data: FoldedRows, score: Score) -> None:
    _HERE.update(data=data, score=score)


def _score_held(config: TrainingConfig, fold: int) -> FoldScore:
    return _score_quietly(_HERE["score"], _HERE["data"], config, fold)


def _score_on_worker(score: Score, name: str, config: TrainingConfig, fold: int) -> FoldScore:
    return _score_quietly(score, _HERE[name], config, fold)


def _score_quietly(score: Score, data: FoldedRows, config: TrainingConfig, fold: int) -> FoldScore:
    with quiet_fits():
        return score(data, config, fold)
