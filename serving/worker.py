"""One worker process: the runtime that it answers with, and everything around it that has to start and stop."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ratchet.errors import ConfigError, RegistryError, UnavailableError
from ratchet.feedback.group_commit import FeedbackDesk
from ratchet.inference.package_cache import PackageCache
from ratchet.inference.pointer_follower import Follower
from ratchet.inference.prediction_log import PredictionLog
from ratchet.inference.runtime import Runtime, load_file
from ratchet.inference.spill_journal import Journal
from ratchet.inference.worker_cutover import Board
from ratchet.inference.write_relay import RelayClient
from ratchet.settings import Settings, load_settings
from ratchet.store.database import Store, open_store
from ratchet.store.timestamps import iso_utc
from serving.environment import prepare_environment
from serving.home_metrics import HomeCollector
from serving.json_logging import log_as_json
from serving.latency import add_counts, percentiles
from serving.loop_metrics import LoopCollector
from serving.telemetry import Telemetry

logger = logging.getLogger(__name__)

_BEAT = 1.0
_SOON = 0.02


class Worker:
    """What the endpoints of one process share.

    Parameters
    ----------
    settings: where things are and how the service behaves.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.telemetry = Telemetry(
            log_predictions=settings.log_level in ("DEBUG", "INFO"), log_features=settings.log_features
        )
        # What an earlier service has spilled is moved to the store by a strict one too.
        journal = Journal(settings.home / "journal")
        self.log = PredictionLog(
            lambda: open_store(settings, settings.log_patience),
            journal,
            RelayClient(Path(settings.relay)) if settings.relay else None,
            spill=settings.durability == "spill",
            timeout=settings.request_timeout,
            patience=settings.log_patience,
            on_written=self.telemetry.written,
        )
        self.desk = FeedbackDesk(
            self.store, journal, timeout=settings.request_timeout, on_recorded=self.telemetry.recorded
        )
        self._store: Store | None = None
        self._opening = threading.Lock()
        self.loop_metrics = LoopCollector(self.store, lambda: self.model)
        self.home_metrics = HomeCollector(settings.home)
        # Long computations share one thread, so that short ones never wait for more than one of them.
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self.model = settings.serve_model or ""
        self._runtime: Runtime | None = None
        self._since: float | None = None
        self._coming: deque[tuple[float, Runtime]] = deque()
        self._board: Board | None = None
        self._follower: Follower | None = None
        self._searched = False
        self._following: asyncio.Task[None] | None = None

    @property
    def runtime(self) -> Runtime:
        """What answers now.

        Raises
        ------
        UnavailableError: nothing does yet.
        """
        # The clock decides and not the timer, which a busy event loop runs late.
        while self._coming and time.monotonic() >= self._coming[0][0]:
            self._swap(self._coming.popleft()[1])
        if self._runtime is None:
            raise UnavailableError("no model is in Production yet, or it is still being loaded")
        return self._runtime

    @property
    def is_ready(self) -> bool:
        """Whether requests can be answered."""
        return self._runtime is not None

    def store(self) -> Store:
        """The store, for everything but the log of predictions; not to be called by the event loop's thread.

        Raises
        ------
        StateError: it cannot be opened.
        """
        with self._opening:
            if self._store is None:
                self._store = open_store(self.settings, self.settings.log_patience)
            return self._store

    async def start(self) -> None:
        """Begin to follow the pointer, and to write predictions and feedback.

        Returns when there is a model to answer with, or when it is known that there is none yet: a worker that starts
        beside others must get no request that it cannot answer.
        """
        self._loop = asyncio.get_running_loop()
        self.log.start()
        self.desk.start()
        if self.settings.model_path:
            self._swap(load_file(self.settings.model_path, most_rows=self.settings.max_batch_rows))
        else:
            self._following = asyncio.create_task(self._follow_at_last())
        self._beat()
        deadline = time.monotonic() + self.settings.request_timeout
        while not self.is_ready and not self._has_nothing and time.monotonic() < deadline:
            await asyncio.sleep(_SOON)

    async def stop(self) -> None:
        """Write what is waiting, and leave the other workers."""
        self._heart.cancel()
        if self._following:
            self._following.cancel()
        if self._follower:
            self._follower.stop()
        await self.log.stop()
        await self.desk.stop()
        if self._store:
            self._store.engine.dispose()
        if self._board:
            self._board.leave()
        self.executor.shutdown(wait=False)

    @property
    def _has_nothing(self) -> bool:
        return self._searched or (self._follower is not None and self._follower.has_nothing)

    def health(self) -> dict[str, Any]:
        """How this worker and its fellows are."""
        posts = self._board.posts() if self._board else []
        latencies = [post.facts["latency"] for post in posts if post.facts] or [self.telemetry.window.counts()]
        runtime = self._runtime
        return {
            "status": "starting" if runtime is None else "degraded" if self.log.store_is_down else "ok",
            "model": runtime.model if runtime else self.model,
            "version": runtime.version if runtime else None,
            "since": iso_utc(self._since, "milliseconds") if self._since else None,
            "engine": runtime.engine_name if runtime else None,
            "store": "down" if self.log.store_is_down else "up",
            "durability": self.settings.durability,
            "waiting": self.log.depth,
            "workers": [{"pid": post.pid, "version": post.answering} for post in posts],
            "latency_ms": percentiles(add_counts(latencies)),
        }

    async def _follow_at_last(self) -> None:
        """Begin to follow; what is in the way, as a home that cannot be written, is told and tried again."""
        while True:
            try:
                return await self._follow()
            except Exception:
                self.telemetry.swap_failed("unexpected")
                logger.exception("the production pointer cannot be followed; it is tried again")
            self._searched = True
            await asyncio.sleep(self.settings.poll_interval)

    async def _follow(self) -> None:
        # Imported here, since serving a file needs no registry.
        from ratchet.registry.production_pointer import ProductionPointer

        self.model = await self._find_model()
        pointer = ProductionPointer(self.settings, self.model)
        self._board = Board(self.settings.home / "serving" / self.model)
        self._follower = Follower(
            pointer,
            PackageCache(self.settings),
            self._board,
            self._adopt,
            self.telemetry.swap_failed,
            self.settings.poll_interval,
        )
        self._follower.start()

    async def _find_model(self) -> str:
        """The model to serve, which need not be named where there is only one; waits for the first one."""
        from ratchet.tracking import choose_model

        while not self.model:
            try:
                return await asyncio.to_thread(choose_model, self.settings, None)
            except RegistryError as error:
                logger.warning("nothing to serve yet: %s", error)
            except ConfigError as error:
                logger.error("set RATCHET_SERVE_MODEL: %s", error)
            self._searched = True
            await asyncio.sleep(self.settings.poll_interval)
        return self.model

    def _adopt(self, runtime: Runtime, at: float) -> None:
        """Called by the follower's thread: answer with this runtime from an instant on."""
        self._coming.append((at, runtime))
        self._loop.call_soon_threadsafe(self._cut_over)

    def _cut_over(self) -> None:
        """Swap in what is due, and come back for what is not; a timer may be early as well as late."""
        while self._coming and (left := self._coming[0][0] - time.monotonic()) <= 0:
            self._swap(self._coming.popleft()[1])
        if self._coming:
            self._loop.call_later(left + 0.001, self._cut_over)

    def _swap(self, runtime: Runtime) -> None:
        if self._runtime is None:
            # What was made for starting stays: without this, each full collection looks through it all, for a tenth of
            # a second in which nobody is answered.
            gc.collect()
            gc.freeze()
        self._runtime, self._since = runtime, time.time()
        self.model = runtime.model
        self.telemetry.swapped(runtime.model, runtime.version)
        if self._board:
            self._board.mine.answering = runtime.version
            self._tell()

    def _beat(self) -> None:
        """Say once a second that the event loop is alive, and how it goes."""
        try:
            self.telemetry.move()
        except OSError as error:
            logger.error("metrics cannot be kept: %s", error)
        self.telemetry.state(depth=self.log.depth, store_is_down=self.log.store_is_down)
        if self._board:
            self._board.mine.facts = {"latency": self.telemetry.window.counts()}
            self._tell()
        self._heart = self._loop.call_later(_BEAT, self._beat)

    def _tell(self) -> None:
        try:
            if self._board:
                self._board.post()
        except OSError as error:
            logger.error("the other workers cannot be told how this one is: %s", error)


@functools.cache
def this_worker() -> Worker:
    """The one worker of this process, which logs as JSON from here on."""
    prepare_environment()
    settings = load_settings()
    log_as_json(settings.log_level)
    return Worker(settings)
