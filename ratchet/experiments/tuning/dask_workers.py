"""Folds on a Dask cluster: one of this machine that ends with the study, or one whose scheduler has an address."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from ratchet.config import TrainingConfig
from ratchet.config.tuning import Compute
from ratchet.errors import UnavailableError, one_line
from ratchet.experiments.tuning.scoring import FoldedRows, FoldFailure, FoldResult, Score, try_fold

if TYPE_CHECKING:
    from distributed import Client, Future

# Seconds to wait for a scheduler, and for a worker where there is none.
_CONNECT = 15.0
# Seconds between two checks of the cluster while no fold ends.
_POLL = 2.0
# ``python -m`` puts the working folder into the module path; the command ``dask`` does not.
_WORKER = "`python -m dask worker {}` in this project's folder and environment"
_GO_ON = "run the same command again, the study continues where it stopped"


class DaskWorkers:
    """The workers of a Dask cluster, as a context manager.

    Dask runs the folds of a worker that dies on another one, and starts the worker again on its own cluster.

    Parameters
    ----------
    compute: the address of the scheduler, or the number of workers to start on this machine.
    data, score: what each worker gets once.

    Raises
    ------
    UnavailableError: the cluster cannot be reached or has no worker, or its workers cannot load this project.
    """

    def __init__(self, compute: Compute, data: FoldedRows, score: Score) -> None:
        self._compute, self._data, self._score = compute, data, score
        self._place = compute.address or "this machine"
        self._name = f"ratchet-rows-{uuid.uuid4().hex}"
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._client = self._connect()
            self._entered.callback(self._unregister_rows)
            self._register_rows()
        except BaseException:
            self._entered.close()
            raise
        self._worker_seen = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def score_folds(self, tasks: Sequence[tuple[TrainingConfig, int]]) -> list[FoldResult]:
        """Score configs on folds, in parallel; the results are in the order of the tasks.

        Raises
        ------
        UnavailableError: the scheduler is gone or cannot load this project, or all workers are gone.
        """
        futures = [self._client.submit(_score_on_worker, self._score, self._name, *task, pure=False) for task in tasks]
        self._wait(futures)
        return [self._result(future) for future in futures]

    def _wait(self, futures: Sequence[Future[FoldResult]]) -> None:
        from distributed import wait

        while True:
            try:
                wait(futures, timeout=_POLL)  # type: ignore[no-untyped-call]
                return
            except TimeoutError:
                self._require_cluster()
            except CancelledError:
                raise self._scheduler_gone() from None

    def _result(self, future: Future[FoldResult]) -> FoldResult:
        from distributed import KilledWorker

        error = future.exception()  # type: ignore[no-untyped-call]
        if error is None:
            return future.result()
        if isinstance(error, KilledWorker):
            return FoldFailure(f"its worker died {error.allowed_failures + 1} times")
        if "deserialization of the task graph" in str(error):
            raise UnavailableError(
                f"the Dask scheduler at {self._place} cannot import this project's modules: start it with"
                " `python -m dask scheduler` in this project's folder and environment"
            ) from None
        raise error

    def _require_cluster(self) -> None:
        if self._client.status != "running":
            raise self._scheduler_gone()
        if self._client.scheduler_info(n_workers=1)["workers"]:
            self._worker_seen = time.monotonic()
        elif time.monotonic() - self._worker_seen > _CONNECT:
            raise UnavailableError(
                f"the Dask scheduler at {self._place} has lost all its workers: start one with"
                f" {_WORKER.format(self._place)} and {_GO_ON}"
            )

    def _scheduler_gone(self) -> UnavailableError:
        return UnavailableError(f"the Dask scheduler at {self._place} is gone: start it and {_GO_ON}")

    def _connect(self) -> Client:
        from distributed import Client

        address: Any = self._compute.address
        try:
            if address is None:
                address = self._entered.enter_context(self._local_cluster())
            else:
                asyncio.run(_require_scheduler(address))
            client: Client = Client(address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
            self._entered.enter_context(client)
            self._entered.enter_context(client.as_current())
        except (OSError, ValueError, TypeError) as error:  # a TypeError where TLS is not configured
            raise UnavailableError(
                f"compute.address: no Dask scheduler answers at {self._place} ({one_line(error)}): start one with"
                " `python -m dask scheduler`, or leave the address out"
            ) from None
        try:
            client.wait_for_workers(1, timeout=_CONNECT)
        except TimeoutError:
            raise UnavailableError(
                f"the Dask scheduler at {self._place} has no worker: start one with {_WORKER.format(self._place)}"
            ) from None
        return client

    def _local_cluster(self) -> Any:
        import dask
        from distributed import LocalCluster

        self._entered.enter_context(dask.config.set({"distributed.admin.log-format": "%(message)s"}))
        return LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=self._compute.workers,
            threads_per_worker=1,
            memory_limit=None,  # Dask's default is one processor's share, beyond which it kills the worker
            processes=True,
            security=True,  # a certificate for this cluster alone: other users of this machine cannot submit code
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # without an address it listens on all
            silence_logs="CRITICAL",
        )

    def _register_rows(self) -> None:
        """Send the rows to each worker, those that start later too; a future of ``scatter`` binds folds to a worker."""
        plugin = _rows_plugin(self._data, ignores_interrupts=self._compute.address is None)
        try:
            self._client.register_plugin(plugin, name=self._name)
        except Exception as error:  # Dask raises the worker's own error
            raise UnavailableError(
                f"the Dask workers at {self._place} cannot load the rows ({one_line(error)}): start them"
                f" with {_WORKER.format(self._place)}"
            ) from None

    def _unregister_rows(self) -> None:
        with suppress(Exception):  # the cluster may be gone
            self._client.unregister_worker_plugin(self._name)  # type: ignore[no-untyped-call]


async def _require_scheduler(address: str) -> None:
    """Check within a limit that a Dask scheduler listens: a client waits for the handshake without one.

    Raises
    ------
    OSError, ValueError, TypeError: nothing listens, it is no scheduler, or the address is invalid.
    """
    from distributed.core import rpc
    from distributed.security import Security

    async def identify() -> str:
        secured = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
        async with rpc(address, timeout=_CONNECT, connection_args=secured) as server:  # type: ignore[no-untyped-call]
            return str((await server.identity())["type"])

    try:
        kind = await asyncio.wait_for(identify(), _CONNECT + 1)
    except TimeoutError:
        raise OSError(f"no handshake within {_CONNECT:g} s") from None
    if kind != "Scheduler":
        raise OSError(f"it is a {kind}")


def _rows_plugin(data: FoldedRows, *, ignores_interrupts: bool) -> Any:
    """Return the plugin that holds the rows on each worker.

    Workers of this process's own cluster ignore Ctrl-C, which a terminal sends to all processes:
    this process ends them.
    """
    from distributed import WorkerPlugin

    class Rows(WorkerPlugin):
        rows = data

        def setup(self, worker: Any) -> None:
            if ignores_interrupts:
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Rows()


def _score_on_worker(score: Score, name: str, config: TrainingConfig, fold: int) -> FoldResult:
    from distributed import get_worker

    plugin: Any = get_worker().plugins[name]
    return try_fold(score, plugin.rows, config, fold)
