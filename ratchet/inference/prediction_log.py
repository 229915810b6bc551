"""The prediction log: every answer's row, durable before the answer is sent.

Rows of concurrent requests share a transaction (``ratchet.store.group_commit``). When the store is down, rows are
refused (strict), or go to a journal on the local disk and from there to the store (spill).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from ratchet.errors import StateError, UnavailableError
from ratchet.inference.spill_journal import Journal
from ratchet.store.clock import clock_difference
from ratchet.store.database import Store
from ratchet.store.group_commit import Group, GroupCommit
from ratchet.store.prediction_batches import PredictionBatch
from ratchet.store.predictions import Entry, Prediction, PredictionWriter, count_rows, insert_predictions

logger = logging.getLogger(__name__)

Rows = Sequence[Entry]
# Number of rows after which no further request joins a transaction.
_MOST_ROWS = 2000
# Seconds between two checkpoints, replays of the journal, and checks of a store that is down.
_RECOVERY_INTERVAL = 1.0


class PredictionLog:
    """Saves rows for one event loop.

    Parameters
    ----------
    open_store: opens the store; called again until it succeeds. The store's timeout decides when it counts as down.
    journal: replayed into the store when it is up.
    spill: write rows to the journal while the store is down, instead of refusing them.
    timeout: seconds after which a row that is not durable is refused.
    on_written: receives the durable rows, by request, on any thread.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        journal: Journal,
        *,
        spill: bool = True,
        timeout: float = 30.0,
        on_written: Callable[[Sequence[Rows]], None] = lambda requests: None,
    ) -> None:
        self._open_store = open_store
        self._journal = journal
        self._spill = spill
        self._on_written = on_written
        self._timeout = timeout
        self._commits: GroupCommit[Entry, Entry] = GroupCommit(
            "predictions", self._commit, self._report, limit=_MOST_ROWS, timeout=timeout, size_of=count_rows
        )
        self._store: Store | None = None
        self._writer: PredictionWriter | None = None
        self._opening = threading.Lock()
        self._stopped = threading.Event()
        self.store_is_down = False
        # Seconds that this machine's clock is ahead of the store's; 0 if they agree.
        self.clock_ahead = 0.0

    @property
    def depth(self) -> int:
        """Number of rows that wait to be durable."""
        return self._commits.depth

    def start(self) -> None:
        """Start to write, for the running event loop."""
        self._commits.start()
        self._recovery = threading.Thread(target=self._recover_until_stopped, name="predictions-recovery", daemon=True)
        self._recovery.start()

    async def stop(self) -> None:
        """Write the waiting rows and close the store."""
        self._stopped.set()
        await self._commits.stop()
        await asyncio.to_thread(self._recovery.join, self._timeout)
        self._journal.release()
        if self._writer:
            self._writer.close()
        if self._store:
            self._store.engine.dispose()

    def submit(self, entries: Rows, on_done: Callable[[UnavailableError | None], None]) -> None:
        """Write rows and batches; for the event loop's thread.

        Parameters
        ----------
        on_done: called on the event loop once: with None when all entries are durable, or with the error if they may
            not be durable and the client may retry.
        """
        self._commits.submit(entries, lambda done: on_done(done if isinstance(done, UnavailableError) else None))

    async def write(self, entries: Rows) -> None:
        """Write rows and batches, and return when they are durable.

        Raises
        ------
        UnavailableError: they may not be durable; the client may retry.
        """
        await self._commits.write(entries)

    def _commit(self, group: Group[Entry, Entry]) -> Rows:
        if self._spill and self.store_is_down:
            self._journal.append(_single_rows(group.join()))
            return group.items
        try:
            self._write_to_store(group)
            self.store_is_down = False
        except StateError as error:
            if not self.store_is_down:
                logger.error("predictions cannot be written to the store: %s", error)
            self.store_is_down = True
            if not self._spill:
                raise UnavailableError("the store of predictions is down") from None
            self._journal.append(_single_rows(group.join()))
        return group.items

    def _write_to_store(self, group: Group[Entry, Entry]) -> None:
        if self._writer is None:
            self._writer = PredictionWriter(self._opened())
        with self._writer.transaction():
            self._writer.insert(group.join())

    def _report(self, group: Group[Entry, Entry], _: Rows) -> None:
        self._on_written([request.items for request in group.requests])

    def _recover_until_stopped(self) -> None:
        self._recover()
        while not self._stopped.wait(_RECOVERY_INTERVAL):
            self._recover()

    def _recover(self) -> None:
        try:
            store = self._opened()
            store.checkpoint()
            self._compare_clocks(store)
            if self.store_is_down:
                with store.transaction():
                    pass
                logger.warning("the store is up again")
                self.store_is_down = False
            self._journal.release()
            moved = self._journal.replay(lambda rows: insert_predictions(store, rows))
            if moved:
                logger.warning("%d predictions went from the journal into the store", moved)
        except StateError:
            pass  # logged by the commit that found the store down
        except Exception:
            logger.exception("the journal of predictions could not be replayed; it is kept")

    def _compare_clocks(self, store: Store) -> None:
        before, self.clock_ahead = self.clock_ahead, clock_difference(store) or 0.0
        if self.clock_ahead and not before:
            logger.error(
                "the clock of this machine is %.0f s ahead of that of the store, whose time is used", self.clock_ahead
            )

    def _opened(self) -> Store:
        with self._opening:
            if self._store is None:
                self._store = self._open_store()
            return self._store


def _single_rows(entries: Rows) -> list[Prediction]:
    """Return entries as rows for the journal, which has no frame for a batch."""
    rows: list[Prediction] = []
    for entry in entries:
        rows += entry.rows() if isinstance(entry, PredictionBatch) else (entry,)
    return rows
