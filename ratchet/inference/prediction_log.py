"""The prediction log: rows of many requests in one transaction, and no answer before its row is durable.

Whatever has come together in a turn of the event loop, or while the last transaction ran, goes into the next one (group
commit), so that its cost is shared. The machine's relay makes the transactions where there is one, else a thread of
this process: the event loop never waits for a disk. When the store is down, rows are refused (strict) or go to a
journal on the local disk and from there to the store (spill).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from ratchet.errors import StateError, UnavailableError
from ratchet.inference.spill_journal import Journal
from ratchet.inference.write_relay import RelayClient
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction, PredictionWriter, insert_predictions

logger = logging.getLogger(__name__)

Rows = Sequence[Prediction]
# A transaction takes what is waiting, up to about so many rows.
_MOST_ROWS = 2000
# More rows than this gain nothing from sharing a transaction, and the way to the relay would cost them.
_MOST_RELAYED = 500
# Seconds between looks at a store that was down, and at journals that others left.
_RETRY = 0.5
_SWEEP = 1.0


class PredictionLog:
    """Writes rows durably for one event loop.

    Parameters
    ----------
    open_store: opens the store; called again until it succeeds.
    journal: where rows go while the store is down, and are replayed from; None for none.
    spill: whether rows may go there, or are refused.
    relay: the connection to the machine's relay, if it has one.
    capacity: how many rows may wait; more are refused at once.
    timeout: seconds after which a row that is still not durable is refused.
    patience: seconds to wait for a store that somebody holds locked, before it counts as down.
    on_written: told of the rows of each request that became durable, on any thread.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        journal: Journal | None,
        relay: RelayClient | None = None,
        *,
        spill: bool = True,
        capacity: int = 40_000,
        timeout: float = 30.0,
        patience: float = 1.0,
        on_written: Callable[[Sequence[Rows]], None] = lambda requests: None,
    ) -> None:
        self._open_store = open_store
        self._journal = journal
        self._spill = spill and journal is not None
        self._relay = relay
        self._capacity = capacity
        self._timeout = timeout
        self._patience = patience
        self._on_written = on_written
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._waiting: dict[_Entry, None] = {}
        self._store: Store | None = None
        self._writer: PredictionWriter | None = None
        self._gathered: list[_Entry] = []
        self._opening = threading.Lock()
        self._stopped = threading.Event()
        self.depth = 0
        self.store_is_down = False

    def start(self) -> None:
        """Begin to write, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._threads = [
            threading.Thread(target=self._write_until_stopped, name="prediction-log", daemon=True),
            threading.Thread(target=self._recover_until_stopped, name="prediction-log-recovery", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._watch()

    async def stop(self) -> None:
        """Write what is waiting, and end."""
        self._stopped.set()
        self._watchdog.cancel()
        self._queue.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, self._timeout)
        if self._journal:
            self._journal.release()
        if self._relay:
            self._relay.close()
        if self._writer:
            self._writer.close()
        if self._store:
            self._store.engine.dispose()

    async def write(self, rows: Rows) -> None:
        """Write rows, and return when they are durable.

        Raises
        ------
        UnavailableError: they are not; the client may try again.
        """
        if self.depth + len(rows) > self._capacity:
            raise UnavailableError("too many predictions are waiting to be written down")
        entry = _Entry(rows, self._loop.create_future())
        self._waiting[entry] = None
        self.depth += len(rows)
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(entry)
        await entry.durable

    def _flush(self) -> None:
        """Have written what this turn of the event loop has brought."""
        entries, self._gathered = self._gathered, []
        rows = [row for entry in entries for row in entry.rows]
        if self._relay and self._relay.connected and not self.store_is_down and len(rows) <= _MOST_RELAYED:
            self._relay.send(rows, functools.partial(self._relayed, entries))
        else:
            self._write_here(entries)

    def _relayed(self, entries: Sequence[_Entry], durable: bool) -> None:
        """What the relay has said of some rows; where that is no, this process finds out why."""
        if not durable:
            self._write_here(entries)
            return
        self._settle(entries, None)
        self._tell(entries)

    def _write_here(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            self._queue.put(entry)

    def _watch(self) -> None:
        """Refuse what has waited too long, as when a store neither answers nor fails."""
        limit = time.monotonic() - self._timeout
        if self._relay:
            self._relay.give_up(self._patience)
            self._connecting = self._loop.create_task(self._relay.connect())
        late = [entry for entry in self._waiting if entry.since < limit]
        if late:
            self._settle(late, UnavailableError("the store does not answer"))
        self._watchdog = self._loop.call_later(1.0, self._watch)

    def _settle(self, entries: Sequence[_Entry], error: UnavailableError | None) -> None:
        for entry in entries:
            if entry in self._waiting:
                del self._waiting[entry]
                self.depth -= len(entry.rows)
            if entry.durable.done():  # the client went away
                continue
            if error is None:
                entry.durable.set_result(None)
            else:
                entry.durable.set_exception(error)

    def _write_until_stopped(self) -> None:
        while entries := self._take():
            rows = [row for entry in entries for row in entry.rows]
            error = self._persist(rows)
            self._loop.call_soon_threadsafe(self._settle, entries, error)
            if error is None:
                self._tell(entries)

    def _tell(self, entries: Sequence[_Entry]) -> None:
        try:
            self._on_written([entry.rows for entry in entries])
        except Exception as error:  # a log that cannot be written must not cost a prediction
            logger.debug("what was written could not be told: %s", error)

    def _take(self) -> list[_Entry]:
        """What is waiting; empty when it is time to end."""
        entries: list[_Entry] = []
        rows = 0
        try:
            while rows < _MOST_ROWS:
                entry = self._queue.get(block=not entries)
                if entry is None:
                    self._queue.put(None)  # end after this round
                    break
                entries.append(entry)
                rows += len(entry.rows)
        except Empty:
            pass
        return entries

    def _persist(self, rows: Rows) -> UnavailableError | None:
        try:
            if not (self._spill and self.store_is_down):
                try:
                    if self._writer is None:
                        self._writer = PredictionWriter(self._opened(), self._patience)
                    self._writer.write(rows)
                    self.store_is_down = False
                    return None
                except StateError as error:
                    if not self.store_is_down:
                        logger.error("predictions cannot be written to the store: %s", error)
                    self.store_is_down = True
                    if not self._spill or self._journal is None:
                        return UnavailableError("the store of predictions is down")
            if self._journal:
                self._journal.append(rows)
        except Exception:
            logger.exception("%d predictions could not be written down; they are refused", len(rows))
            return UnavailableError("predictions cannot be written down")
        return None

    def _recover_until_stopped(self) -> None:
        """Look whether a store that was down is back, and move into it what journals hold."""
        wait = 0.0
        while not self._stopped.wait(wait):
            wait = _RETRY if self._recover() else _SWEEP
            while wait > _RETRY and not self.store_is_down and not self._stopped.wait(_RETRY):
                wait -= _RETRY

    def _recover(self) -> bool:
        """Whether to look again soon."""
        try:
            self._opened().checkpoint()
            if self.store_is_down:
                with self._opened().transaction():
                    pass
                logger.warning("the store takes predictions again")
                self.store_is_down = False
            if self._journal:
                self._journal.release()
                moved = self._journal.replay(lambda rows: insert_predictions(self._opened(), rows))
                if moved:
                    logger.warning("%d predictions went from the journal into the store", moved)
        except StateError:
            return True
        except Exception:
            logger.exception("the journal of predictions could not be replayed; it is kept")
            return True
        return self.store_is_down

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                self._store = self._open_store()
            return self._store


class _Entry:
    """The rows of one request, and the future that its answer waits for."""

    __slots__ = ("durable", "rows", "since")

    def __init__(self, rows: Rows, durable: asyncio.Future[None]) -> None:
        self.rows = rows
        self.durable = durable
        self.since = time.monotonic()
