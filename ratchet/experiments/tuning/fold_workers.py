"""Where folds are scored: in this process, or by workers of a Dask cluster.

The cluster is one of this machine that ends with the study, or one whose scheduler has an address.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

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


ScoreFolds = Callable[[Sequence[tuple[TrainingConfig, int]]], list[FoldResult]]


@contextmanager
def fold_workers(compute: Compute, data: FoldedRows, score: Score) -> Iterator[ScoreFolds]:
    """Start what a config's ``compute`` names, and yield a function that scores configs on folds.

    The result is the same on all of them, since a score depends on rows, config and fold only.

    Raises
    ------
    UnavailableError: the Dask cluster cannot be reached or has no worker, its workers cannot load this project, or it
        has lost its scheduler or all its workers.
    """
    if compute.engine == "local":
        yield lambda tasks: [try_fold(score, data, config, fold) for config, fold in tasks]
        return
    place = compute.address or "this machine"
    with _connected(compute, place) as client, _rows_on_workers(client, compute, data, place) as name:
        yield _DaskWorkers(client, place, partial(_score_on_worker, score, name)).score_folds


class _DaskWorkers:
    """The workers of a Dask cluster.

    Dask runs the folds of a worker that dies on another one, and starts the worker again on its own cluster.
    """

    def __init__(self, client: Client, place: str, score: Callable[[TrainingConfig, int], FoldResult]) -> None:
        self._client, self._place, self._score = client, place, score
        self._worker_seen = time.monotonic()

    def score_folds(self, tasks: Sequence[tuple[TrainingConfig, int]]) -> list[FoldResult]:
        """Score configs on folds, in parallel; the results are in the order of the tasks."""
        futures = [self._client.submit(self._score, *task, pure=False) for task in tasks]
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


@contextmanager
def _connected(compute: Compute, place: str) -> Iterator[Client]:
    from distributed import Client

    with ExitStack() as entered:
        address: Any = compute.address
        try:
            if address is None:
                address = entered.enter_context(_local_cluster(compute.workers))
            else:
                asyncio.run(_require_scheduler(address))
            client: Client = Client(address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
            entered.enter_context(client)
            entered.enter_context(client.as_current())
        except (OSError, ValueError, TypeError) as error:  # a TypeError where TLS is not configured
            raise UnavailableError(
                f"compute.address: no Dask scheduler answers at {place} ({one_line(error)}): start one with"
                " `python -m dask scheduler`, or leave the address out"
            ) from None
        try:
            client.wait_for_workers(1, timeout=_CONNECT)
        except TimeoutError:
            raise UnavailableError(
                f"the Dask scheduler at {place} has no worker: start one with {_WORKER.format(place)}"
            ) from None
        yield client


@contextmanager
def _local_cluster(workers: int) -> Iterator[Any]:
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.admin.log-format": "%(message)s"}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=None,  # Dask's default is one processor's share, beyond which it kills the worker
            processes=True,
            security=True,  # a certificate for this cluster alone: other users of this machine cannot submit code
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # without an address it listens on all
            silence_logs="CRITICAL",
        ) as cluster,
    ):
        yield cluster


@contextmanager
def _rows_on_workers(client: Client, compute: Compute, data: FoldedRows, place: str) -> Iterator[str]:
    """Send the rows to each worker, those that start later too; a future of ``scatter`` binds folds to a worker."""
    name = f"ratchet-rows-{uuid.uuid4().hex}"
    plugin = _rows_plugin(data, ignores_interrupts=compute.address is None)
    try:
        try:
            client.register_plugin(plugin, name=name)
        except Exception as error:  # Dask raises the worker's own error
            raise UnavailableError(
                f"the Dask workers at {place} cannot load the rows ({one_line(error)}): start them"
                f" with {_WORKER.format(place)}"
            ) from None
        yield name
    finally:
        with suppress(Exception):  # the cluster may be gone
            client.unregister_worker_plugin(name)  # type: ignore[no-untyped-call]


async def _require_scheduler(address: str) -> None:
    """Check within a limit that a Dask scheduler listens: a client waits for the handshake without one."""
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
