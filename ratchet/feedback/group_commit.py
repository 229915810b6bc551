"""The desk that takes feedback: many requests in one transaction, and no acknowledgement before it is durable.

Whatever has come by the time that it is this process's turn to write goes into one transaction (group commit), made by
a thread, so that the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from sqlalchemy.exc import IntegrityError

from ratchet.errors import StateError, UnavailableError
from ratchet.feedback.table import Case, Result, Served, find_case, recording
from ratchet.feedback.truth import Feedback
from ratchet.inference.spill_journal import Journal
from ratchet.store.database import Store

Told = tuple[Feedback, Result]

logger = logging.getLogger(__name__)

# A transaction takes what is waiting, up to about so much: others wait for it who write predictions.
_MOST = 500


class FeedbackDesk:
    """Records feedback durably for one event loop.

    Parameters
    ----------
    open_store: gives the store; called by the desk's thread, for each transaction.
    journal: where predictions wait that are not in the store yet.
    capacity: how much may wait; more is refused at once.
    timeout: seconds after which feedback that is still not durable is refused.
    on_recorded: told of each transaction's feedback and what came of it, on the desk's thread.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        journal: Journal,
        *,
        capacity: int = 40_000,
        timeout: float = 30.0,
        on_recorded: Callable[[Sequence[Told]], None] = lambda told: None,
    ) -> None:
        self._open_store = open_store
        self._journal = journal
        self._capacity = capacity
        self._timeout = timeout
        self._on_recorded = on_recorded
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._store_is_down = False
        self.depth = 0

    def start(self) -> None:
        """Begin to write, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_until_stopped, name="feedback-desk", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what is waiting, and end."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._timeout)

    async def record(self, said: Sequence[Feedback], served: Served) -> list[Result]:
        """Record feedback, each as if it came alone, and return when all of it is durable.

        Parameters
        ----------
        said: in the order in which it counts.
        served: the model that is asked to take it.

        Returns
        -------
        What came of each, as for ``record_feedback``.

        Raises
        ------
        UnavailableError: it may not be durable; sending it again does no harm.
        """
        if self.depth + len(said) > self._capacity:
            raise UnavailableError("too much feedback is waiting to be written down")
        shares = [said[start : start + _MOST] for start in range(0, len(said), _MOST)]
        entries = [_Entry(share, served, self._loop.create_future()) for share in shares]
        self.depth += len(said)
        try:
            for entry in entries:
                self._queue.put(entry)
            async with asyncio.timeout(self._timeout):
                results = await asyncio.gather(*(entry.results for entry in entries))
        except TimeoutError:
            raise UnavailableError("the store does not answer") from None
        finally:
            self.depth -= len(said)
        return [result for share in results for result in share]

    async def find(self, prediction_id: str, served: Served) -> Case:
        """A prediction that the served model has made, and what stands for it.

        Raises
        ------
        UnknownPredictionError: this model has made no such prediction.
        UnavailableError: the store cannot be read, or predictions are still on their way there.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(self._find, prediction_id, served)
        except TimeoutError:
            raise UnavailableError("the store does not answer") from None
        except StateError as error:
            logger.error("predictions cannot be read from the store: %s", error)
            raise UnavailableError("the store of predictions is down") from None

    def _find(self, prediction_id: str, served: Served) -> Case:
        awaited = self._some_are_awaited()
        return find_case(self._open_store(), prediction_id, served, awaited=awaited)

    def _some_are_awaited(self) -> bool:
        """Whether predictions wait outside the store; to be asked first, since whatever leaves the journal is in it."""
        return bool(self._journal.segments())

    def _write_until_stopped(self) -> None:
        while (first := self._queue.get()) is not None:
            entries, found = self._write(first)
            self._loop.call_soon_threadsafe(_settle, entries, found)
            if not isinstance(found, UnavailableError):
                self._tell([said for entry in entries for said in entry.said], found)

    def _write(self, first: _Entry) -> tuple[list[_Entry], list[Result] | UnavailableError]:
        """Write an entry, and with it what has come by the time that it is this process's turn to write."""
        entries = [first]
        try:
            with recording(self._open_store()) as book:
                entries += self._waiting(_MOST - len(first.said))
                awaited = self._some_are_awaited()
                asked = [(said, entry.served) for entry in entries for said in entry.said]
                results = book.record(asked, awaited=awaited)
            self._store_is_down = False
            return entries, results
        except (StateError, IntegrityError) as error:
            if not self._store_is_down:
                logger.error("feedback cannot be written to the store: %s", error)
            self._store_is_down = True
            refusal = UnavailableError("the store of feedback is down")
        except Exception:
            logger.exception("feedback could not be written down; it is refused")
            refusal = UnavailableError("feedback cannot be written down")
        # Nobody waits through another attempt of which this one has told the outcome.
        return [*entries, *self._waiting(self._capacity)], refusal

    def _waiting(self, most: int) -> list[_Entry]:
        """What waits, up to about so much feedback."""
        entries: list[_Entry] = []
        with contextlib.suppress(Empty):
            while most > 0:
                entry = self._queue.get_nowait()
                if entry is None:
                    self._queue.put(None)  # end after this round
                    break
                entries.append(entry)
                most -= len(entry.said)
        return entries

    def _tell(self, said: Sequence[Feedback], results: Sequence[Result]) -> None:
        try:
            self._on_recorded(list(zip(said, results, strict=True)))
        except Exception as error:  # a log that cannot be written must not cost feedback
            logger.debug("what was recorded could not be told: %s", error)


@dataclass(frozen=True)
class _Entry:
    """What one request says, and the future that its answer waits for."""

    said: Sequence[Feedback]
    served: Served
    results: asyncio.Future[list[Result]]


def _settle(entries: Sequence[_Entry], found: list[Result] | UnavailableError) -> None:
    start = 0
    for entry in entries:
        end = start + len(entry.said)
        if entry.results.done():  # nobody waits for it any more
            pass
        elif isinstance(found, UnavailableError):
            entry.results.set_exception(found)
        else:
            entry.results.set_result(found[start:end])
        start = end
