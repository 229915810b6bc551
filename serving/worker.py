"""The state of one worker process: the model that it serves, and the start and stop of everything around it."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ratchet.errors import ConfigError, RegistryError, UnavailableError
from ratchet.feedback.feedback_log import FeedbackLog, Outcome
from ratchet.feedback.signed_links import Links
from ratchet.inference.journal_mover import MoverLoop
from ratchet.inference.package_cache import PackageCache
from ratchet.inference.pointer_follower import PointerFollower
from ratchet.inference.prediction_log import PredictionLog, Rows
from ratchet.inference.runtime import Runtime, load_file
from ratchet.inference.worker_cutover import WorkerCutover
from ratchet.secret_strength import check_secrets
from ratchet.settings import Settings, load_settings
from ratchet.store.database import Store, open_store
from ratchet.store.timestamps import iso_utc
from serving.authentication import ApiKeys
from serving.batch_answers import BatchReply, BatchRequest
from serving.batch_process import BatchProcess
from serving.collectors import DiskCollector, LoopCollector
from serving.environment import BATCH_SOCKET, prepare_environment
from serving.event_log import EventLog
from serving.journal_process import journal_of, mover_of
from serving.json_logging import log_as_json
from serving.latency_window import add_counts, percentiles
from serving.metrics import Metrics

logger = logging.getLogger(__name__)

NO_MODEL = "no model is in Production yet, or it is still being loaded"
# In seconds.
_HEARTBEAT_INTERVAL = 1.0
_READY_POLL_INTERVAL = 0.02
# How long a worker that starts without others waits for its model before it answers that it has none.
_START_PATIENCE = 5.0


class Worker:
    """What the endpoints of one process share.

    Raises
    ------
    ConfigError: outside a local environment, a key or the secret of signed links is missing or weak.
    """

    def __init__(self, settings: Settings) -> None:
        check_secrets(settings)
        self.settings = settings
        self.keys = ApiKeys(settings)
        self.links = Links(settings)
        self.metrics = Metrics()
        self._events = EventLog(enabled=settings.log_level in ("DEBUG", "INFO"), include_features=settings.log_features)
        durability, journal = settings.durability_mode, journal_of(settings)
        # With strict durability too: it moves what an earlier service has written to the journal.
        self.mover: MoverLoop | None = mover_of(settings)
        self.log = PredictionLog(
            lambda: open_store(settings, settings.log_patience),
            journal,
            durability=durability,
            timeout=settings.request_timeout,
            on_written=self._on_predictions,
        )
        self.feedback = FeedbackLog(
            self.store,
            journal,
            other_journals=durability == "journal" and not settings.store_url.startswith("sqlite"),
            timeout=settings.request_timeout,
            on_recorded=self._on_feedback,
        )
        self._store: Store | None = None
        self._store_lock = threading.Lock()
        self.loop_metrics = LoopCollector(self.store, lambda: self.model)
        self.disk_metrics = DiskCollector(settings.home)
        # Single threads, so that short requests compete with one long computation of each kind at most.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._batch_executor = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._batches = BatchProcess(os.environ.get(BATCH_SOCKET), settings.request_timeout)
        self.model = settings.serve_model or ""
        self._runtime: Runtime | None = None
        self._since: float | None = None
        self._scheduled: deque[tuple[float, Runtime]] = deque()
        self._cutover: WorkerCutover | None = None
        self._follower: PointerFollower | None = None
        self._follow_task: asyncio.Task[None] | None = None
        self._search_failed = False

    @property
    def runtime(self) -> Runtime:
        """The model that answers now.

        Raises
        ------
        UnavailableError: none is loaded.
        """
        if self._scheduled:  # by the clock and not by the timer, which is late when the event loop is busy
            self._swap_due()
        if self._runtime is None:
            raise UnavailableError(NO_MODEL)
        return self._runtime

    @property
    def loaded(self) -> Runtime | None:
        """The model that answers now; None while none is loaded."""
        try:
            return self.runtime
        except UnavailableError:
            return None

    @property
    def since(self) -> float | None:
        """When this worker began to serve its version, in seconds since the epoch; None while none is loaded."""
        return self._since

    @property
    def audit_share(self) -> float | None:
        """The share of predictions that a label is asked for; None for none."""
        return self._follower.audit_share if self._follower else None

    @property
    def is_ready(self) -> bool:
        """Whether requests can be answered."""
        return self._runtime is not None

    def store(self) -> Store:
        """Return the store, which is opened by the first call; for all threads but the event loop's.

        Raises
        ------
        StateError: it cannot be opened.
        """
        with self._store_lock:
            if self._store is None:
                self._store = open_store(self.settings, self.settings.log_patience)
            return self._store

    async def answer_batch(self, runtime: Runtime, request: BatchRequest, body: bytes) -> BatchReply:
        """Answer a batch in the process of batches; without one, in a thread.

        Raises
        ------
        InputError: has each invalid value, such as ``rows[3].age``.
        UnavailableError: there is no answer within the request timeout.
        """
        reply: BatchReply = await self._run(self._batch_executor, self._batches.answer, runtime, request, body)
        return reply

    async def compute(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a long computation in a thread.

        Raises
        ------
        UnavailableError: it does not finish within the request timeout.
        """
        return await self._run(self._executor, function, *arguments)

    async def _run(self, executor: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
        timeout = self.settings.request_timeout
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
        except TimeoutError:
            raise UnavailableError(f"the computation did not finish within {timeout:g} s") from None

    async def start(self) -> None:
        """Start to follow the production pointer, and to write predictions and feedback.

        Returns when a model is loaded. A worker that starts next to others, which serve a model, must not get requests
        that it cannot answer; without others it returns soon, so that the probes are answered.
        """
        self._loop = asyncio.get_running_loop()
        self.log.start()
        self.feedback.start()
        if self.mover:
            self._mover_thread = threading.Thread(target=self.mover.run, name="journal-mover", daemon=True)
            self._mover_thread.start()
        if self.settings.model_path:
            limits = {"most_rows": self.settings.max_batch_rows, "most_bytes": self.settings.max_body_bytes}
            self._swap(load_file(self.settings.model_path, **limits))
        else:
            self._follow_task = asyncio.create_task(self._follow_with_retries())
        self._beat()
        deadline = time.monotonic() + _START_PATIENCE
        while not self.is_ready:
            if (self._has_nothing_to_load or time.monotonic() > deadline) and not self._others_serve:
                break
            await asyncio.sleep(_READY_POLL_INTERVAL)

    async def stop(self) -> None:
        """Write what is queued, and leave the group of workers."""
        self._heartbeat.cancel()
        if self._follow_task:
            self._follow_task.cancel()
        if self._follower:
            self._follower.stop()
        await self.log.stop()
        await self.feedback.stop()
        if self.mover:
            self.mover.stop()
            await asyncio.to_thread(self._mover_thread.join, self.settings.request_timeout)
        if self._store:
            self._store.engine.dispose()
        if self._cutover:
            self._cutover.leave()
        self._executor.shutdown(wait=False)
        self._batch_executor.shutdown(wait=False)

    @property
    def _has_nothing_to_load(self) -> bool:
        return self._search_failed or (self._follower is not None and self._follower.has_nothing_to_serve)

    @property
    def _others_serve(self) -> bool:
        return self._cutover is not None and self._cutover.served_by_peers() is not None

    def health(self) -> dict[str, Any]:
        """Return the body of ``/health``: the state of this worker, and the versions and latency of all workers."""
        workers = self._cutover.states() if self._cutover else []
        latencies = [state.facts["latency"] for state in workers if state.facts] or [self.metrics.latency.counts()]
        runtime = self._runtime
        return {
            "status": "starting" if runtime is None else "degraded" if self.log.store_is_down else "ok",
            "model": runtime.model if runtime else self.model,
            "version": runtime.version if runtime else None,
            "since": iso_utc(self._since, "milliseconds") if self._since else None,
            "engine": runtime.engine_name if runtime else None,
            "store": "down" if self.log.store_is_down else "up",
            "durability": self.settings.durability_mode,
            "waiting": self.log.depth,
            "workers": [{"pid": state.pid, "version": state.answering} for state in workers],
            "latency_ms": percentiles(add_counts(latencies)),
        }

    async def _follow_with_retries(self) -> None:
        """Start the follower; a failure, such as a home that cannot be written, is logged and retried."""
        while True:
            try:
                return await self._follow()
            except Exception:
                self.metrics.count_swap_failure("unexpected")
                logger.exception("the production pointer cannot be followed; trying again")
            self._search_failed = True
            await asyncio.sleep(self.settings.poll_interval)

    async def _follow(self) -> None:
        # Imported here, since MODEL_PATH needs no registry.
        from ratchet.registry.polled_pointer import PolledPointer
        from ratchet.registry.production_pointer import ProductionPointer

        self.model = await self._find_model()
        pointer = PolledPointer(ProductionPointer(self.settings, self.model))
        self._cutover = WorkerCutover(self.settings.home / "serving" / self.model)
        self._follower = PointerFollower(
            pointer,
            PackageCache(self.settings),
            self._cutover,
            self._schedule,
            self.metrics.count_swap_failure,
            self.settings.poll_interval,
        )
        self._follower.start()

    async def _find_model(self) -> str:
        """Return the name of the model to serve; waits for the first model where no name is configured."""
        from ratchet.tracking import choose_model

        while not self.model:
            try:
                return await asyncio.to_thread(choose_model, self.settings, None)
            except RegistryError as error:
                logger.warning("no model to serve yet: %s", error)
            except ConfigError as error:
                logger.error("set RATCHET_SERVE_MODEL: %s", error)
            self._search_failed = True
            await asyncio.sleep(self.settings.poll_interval)
        return self.model

    def _schedule(self, runtime: Runtime, at: float) -> None:
        """Serve a model from an instant on (``time.monotonic()``); called by the follower's thread."""
        self._scheduled.append((at, runtime))
        self._loop.call_soon_threadsafe(self._on_timer)

    def _on_timer(self) -> None:
        self._swap_due()
        if self._scheduled:  # a timer may be early, too
            self._loop.call_later(self._scheduled[0][0] - time.monotonic() + 0.001, self._on_timer)

    def _swap_due(self) -> None:
        while self._scheduled and time.monotonic() >= self._scheduled[0][0]:
            self._swap(self._scheduled.popleft()[1])

    def _swap(self, runtime: Runtime) -> None:
        if self._runtime is None:
            # Excludes the objects of the start from collections, which would stop the service for 0.1 s each.
            gc.collect()
            gc.freeze()
        self._runtime, self._since = runtime, time.time()
        self.model = runtime.model
        self.metrics.set_version(runtime.model, runtime.version)
        if self._cutover:
            self._cutover.state.answering = runtime.version
            self._publish()

    def _beat(self) -> None:
        """Publish, each second, that the event loop is alive, its metrics and its latencies."""
        try:
            self.metrics.flush()
        except OSError as error:
            logger.error("metrics cannot be written: %s", error)
        self.metrics.set_state(depth=self.log.depth, store_is_down=self.log.store_is_down)
        if self._cutover:
            self._cutover.state.facts = {"latency": self.metrics.latency.counts()}
            self._publish()
        self._heartbeat = self._loop.call_later(_HEARTBEAT_INTERVAL, self._beat)

    def _publish(self) -> None:
        try:
            if self._cutover:
                self._cutover.publish()
        except OSError as error:
            logger.error("the state of this worker cannot be written for the others: %s", error)

    def _on_predictions(self, requests: Sequence[Rows]) -> None:
        self.metrics.count_predictions(requests)
        self._events.log_predictions(requests)

    def _on_feedback(self, outcomes: Sequence[Outcome]) -> None:
        self.metrics.count_feedback(outcomes)
        self._events.log_feedback(outcomes)


@functools.cache
def this_worker() -> Worker:
    """Return the worker of this process; the first call configures logging and environment."""
    prepare_environment()
    settings = load_settings()
    log_as_json(settings.log_level)
    return Worker(settings)
