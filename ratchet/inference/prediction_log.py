"""The prediction log: every answer's row, durable before the answer is sent.

Entries of concurrent requests share a commit (``ratchet.store.group_commit``): in a journal on the local disk, from
which ``ratchet.inference.journal_mover`` moves them into the store, or in the store. While the store is down, they are
refused (strict), or go to the journal (spill).
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from ratchet.errors import StateError, UnavailableError
from ratchet.inference.journal import Journal
from ratchet.settings import Durability
from ratchet.store.clock import clock_difference
from ratchet.store.database import Store
from ratchet.store.group_commit import Group, GroupCommit
from ratchet.store.predictions import Entry, PredictionWriter, count_rows

logger = logging.getLogger(__name__)

Rows = Sequence[Entry]
# Number of rows after which no further request joins a transaction.
_MOST_ROWS = 2000
# Seconds up to which the event loop itself waits for the sync of the journal: of the last one, since the next one will
# take about as long. A disk that has become slow delays the loop once.
_QUICK = 0.002
# Seconds between two checks of the store's state and clock.
_CHECK_INTERVAL = 1.0


class PredictionLog:
    """Saves rows for one event loop.

    Parameters
    ----------
    open_store: opens the store; called again until it succeeds. The store's timeout decides when it counts as down.
    journal: of this process; a mover moves its rows into the store.
    durability: whether to write to the journal, to the store (strict), or to the store and, while it is down, to the
        journal (spill).
    timeout: seconds after which a row that is not durable is refused.
    on_written: receives the durable rows, by request, on any thread.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        journal: Journal,
        *,
        durability: Durability = "spill",
        timeout: float = 30.0,
        on_written: Callable[[Sequence[Rows]], None] = lambda requests: None,
    ) -> None:
        self._open_store = open_store
        self._journal = journal
        self._durability = durability
        self._on_written = on_written
        self._timeout = timeout
        self._commits: GroupCommit[Entry, Entry] = GroupCommit(
            "predictions",
            self._commit,
            self._report,
            limit=_MOST_ROWS,
            timeout=timeout,
            size_of=count_rows,
            is_quick=lambda: self._last_append <= _QUICK,
        )
        # Seconds that the last commit took, if it was an append to the journal.
        self._last_append = math.inf
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
        self._checks = threading.Thread(target=self._check_until_stopped, name="predictions-check", daemon=True)
        self._checks.start()

    async def stop(self) -> None:
        """Write the waiting rows and close the store."""
        self._stopped.set()
        await self._commits.stop()
        await asyncio.to_thread(self._checks.join, self._timeout)
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
        if self._durability == "journal":
            started, self._last_append = time.perf_counter(), math.inf
            self._journal.append(group.join())
            self._last_append = time.perf_counter() - started
            return group.items
        if self._durability == "spill" and self.store_is_down:
            self._journal.append(group.join())
            return group.items
        try:
            self._write_to_store(group)
            self.store_is_down = False
        except StateError as error:
            if not self.store_is_down:
                logger.error("predictions cannot be written to the store: %s", error)
            self.store_is_down = True
            if self._durability == "strict":
                raise UnavailableError("the store of predictions is down") from None
            self._journal.append(group.join())
        return group.items

    def _write_to_store(self, group: Group[Entry, Entry]) -> None:
        if self._writer is None:
            self._writer = PredictionWriter(self._opened())
        with self._writer.transaction():
            self._writer.insert(group.join())

    def _report(self, group: Group[Entry, Entry], _: Rows) -> None:
        self._on_written([request.items for request in group.requests])

    def _check_until_stopped(self) -> None:
        self._check()
        while not self._stopped.wait(_CHECK_INTERVAL):
            self._check()

    def _check(self) -> None:
        try:
            self._journal.release_old()
            if self._durability == "journal":
                self.store_is_down = self._journal.is_behind
            store = self._opened()
            self._compare_clocks(store)
            if self.store_is_down and self._durability != "journal":
                with store.transaction():
                    pass
                logger.warning("the store is up again")
                self.store_is_down = False
                self._journal.release()
        except StateError:
            pass  # logged by the commit, or by the move, that found the store down
        except Exception:
            logger.exception("the state of the store could not be checked")

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
