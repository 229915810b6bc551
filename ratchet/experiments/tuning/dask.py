"""Folds on a Dask cluster: one of our own on this machine, or one whose scheduler is named.

What is submitted is pure, so a fold whose worker died is fitted again somewhere else, and gives the same.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from ratchet.config import TrainingConfig
from ratchet.config.tuning import Compute
from ratchet.errors import UnavailableError, one_line
from ratchet.experiments.tuning.scoring import FoldedRows, FoldScore, Score, score_quietly

if TYPE_CHECKING:
    from distributed import Client

_CONNECT = 15.0
# ``python -m`` has the folder in its path; the command ``dask`` by itself does not find the project's modules.
_WORKER = "`python -m dask worker {}` in this project's folder and environment"


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
        self._entered.callback(self._forget_rows)
        try:
            self.client.register_plugin(
                _rows_on_workers(self._data, ours=self._compute.address is None), name=self._name
            )
        except Exception as error:  # a worker's own error, as it is
            self._entered.close()
            raise UnavailableError(
                f"the Dask workers at {self._place} cannot take the rows ({one_line(error)}): start them"
                f" with {_WORKER.format(self._place)}"
            ) from None
        self._seen = time.monotonic()
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
        UnavailableError: the scheduler is gone, or cannot read what it is sent.
        """
        if isinstance(error, CancelledError) or self.client.status != "running":
            raise UnavailableError(
                f"the Dask scheduler at {self._place} is gone: bring it back and run the same command again,"
                " the study goes on where it was"
            ) from None
        if "deserialization of the task graph" in str(error):
            raise UnavailableError(
                f"the Dask scheduler at {self._place} does not find this project's modules: start it with"
                " `python -m dask scheduler` in this project's folder and environment"
            ) from None
        return False

    def check(self) -> None:
        """See that there is still a worker, or was one a moment ago.

        Raises
        ------
        UnavailableError: there has been none for a while, or the scheduler is gone.
        """
        self.is_lost(RuntimeError())  # of a scheduler that is gone
        if self.client.scheduler_info(n_workers=1)["workers"]:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > _CONNECT:
            raise UnavailableError(
                f"the Dask scheduler at {self._place} has lost all its workers: start one with"
                f" {_WORKER.format(self._place)} and run the same command again, the study goes on where it was"
            )

    def _forget_rows(self) -> None:
        with suppress(Exception):  # of a cluster that is gone there is nothing to be freed
            self.client.unregister_worker_plugin(self._name)  # type: ignore[no-untyped-call]

    @property
    def _place(self) -> str:
        return self._compute.address or "this machine"

    def _connect(self) -> Client:
        from distributed import Client

        address: Any = self._compute.address
        if address is None:
            address = self._entered.enter_context(self._cluster())
        try:
            if self._compute.address is not None:
                asyncio.run(_require_scheduler(address))
            client: Client = Client(address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
            self._entered.enter_context(client)
        except (OSError, ValueError, TypeError) as error:  # the last one for TLS that is not set up
            self._entered.close()
            reason = one_line(error)
            raise UnavailableError(
                f"compute.address: no Dask scheduler answers at {self._place} ({reason}): start one with"
                " `python -m dask scheduler`, or leave the address out"
            ) from None
        try:
            client.wait_for_workers(1, timeout=_CONNECT)
        except TimeoutError:
            self._entered.close()
            raise UnavailableError(
                f"the Dask scheduler at {self._place} has no worker: start one with {_WORKER.format(address)}"
            ) from None
        return client

    def _cluster(self) -> Any:
        import dask
        from distributed import LocalCluster

        # Quiet, and nothing listens but on loopback: without an address for its page it would be on all.
        self._entered.enter_context(dask.config.set({"distributed.admin.log-format": "%(message)s"}))
        return LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=self._compute.workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        )


async def _require_scheduler(address: Any) -> None:
    """Ask who is there, within a limit: a client waits for ever for the greeting of a server that is not Dask's.

    Raises
    ------
    OSError, ValueError, TypeError: nobody answers, or somebody who is no scheduler; or it is no address.
    """
    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> str:
        secured = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
        async with rpc(address, timeout=_CONNECT, connection_args=secured) as server:  # type: ignore[no-untyped-call]
            return str((await server.identity())["type"])

    try:
        kind = await asyncio.wait_for(ask(), _CONNECT + 1)
    except TimeoutError:
        raise OSError(f"no greeting within {_CONNECT:g} s") from None
    if kind != "Scheduler":
        raise OSError(f"it is a {kind}")


def _rows_on_workers(data: FoldedRows, *, ours: bool) -> Any:
    """What hands the rows to each worker of a cluster, those that come later too; ``ours`` leave Ctrl-C to us."""
    from distributed import WorkerPlugin

    class Rows(WorkerPlugin):
        rows = data

        def setup(self, worker: Any) -> None:
            if ours:
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Rows()


def _score_on_worker(score: Score, name: str, config: TrainingConfig, fold: int) -> FoldScore:
    from distributed import get_worker

    plugin: Any = get_worker().plugins[name]
    return score_quietly(score, plugin.rows, config, fold)
