"""The feedback log: feedback of many requests in one transaction, and no acknowledgement before it is durable."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from sqlalchemy.exc import IntegrityError

from ratchet.errors import StateError, UnavailableError
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import (
    MissingPredictionError,
    PredictionForReview,
    Result,
    ServedModel,
    feedback_transaction,
    find_for_review,
    record_feedback,
)
from ratchet.inference.journal import Journal
from ratchet.store.database import Store
from ratchet.store.group_commit import Group, GroupCommit
from ratchet.store.predictions import first_id

# Feedback, the model that it was sent to, and when it arrived by this machine's clock.
Item = tuple[Feedback, ServedModel, float]
Outcome = tuple[Feedback, Result]

logger = logging.getLogger(__name__)

# Number of items in one transaction; predictions wait for it.
_MOST = 500
# Seconds that feedback waits until its prediction is in the store, and between two looks.
_LONGEST_WAIT = 2.0
_POLL = 0.02
# Seconds for which a prediction may be in the journal of another machine.
_ELSEWHERE = 30.0


class PendingPredictionError(UnavailableError):
    """Feedback on a prediction that may be in a journal and not in the store yet."""


class FeedbackLog:
    """Records feedback for one event loop.

    Parameters
    ----------
    open_store: returns the store; called for each transaction.
    journal: holds the predictions of this machine that are not in the store yet.
    other_journals: whether other machines write predictions to journals of the same store.
    timeout: seconds after which feedback that is not durable is refused.
    on_recorded: receives the outcomes of each transaction, on a thread.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        journal: Journal,
        *,
        other_journals: bool = False,
        timeout: float = 30.0,
        on_recorded: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
    ) -> None:
        self._open_store = open_store
        self._journal = journal
        self._other_journals = other_journals
        self._timeout = timeout
        self._on_recorded = on_recorded
        self._commits: GroupCommit[Item, Result] = GroupCommit(
            "feedback", self._commit, self._report, limit=_MOST, timeout=timeout
        )
        self._store_is_down = False

    @property
    def depth(self) -> int:
        """Number of items that wait to be durable."""
        return self._commits.depth

    def start(self) -> None:
        """Start to write, for the running event loop."""
        self._commits.start()

    async def stop(self) -> None:
        """Write the waiting feedback."""
        await self._commits.stop()

    async def record(self, feedback: Sequence[Feedback], served: ServedModel) -> list[Result]:
        """Record feedback, each item as if it came alone, in this order.

        Feedback on a prediction that is not in the store yet waits for it for a short time.

        Returns the result of each item, as ``record_feedback`` does, when all of them are durable, with
        ``PendingPredictionError`` for a prediction that may arrive later.

        Raises
        ------
        UnavailableError: it may not be durable; the client may send it again.
        """
        asked_at, deadline = time.time(), time.monotonic() + _LONGEST_WAIT
        items = [(item, served, asked_at) for item in feedback]
        results = await self._write(items)
        while waiting := [at for at, result in enumerate(results) if isinstance(result, PendingPredictionError)]:
            if not await self._wait_for_move(asked_at, deadline):
                break
            for at, result in zip(waiting, await self._write([items[at] for at in waiting]), strict=True):
                results[at] = result
        return results

    async def _write(self, items: Sequence[Item]) -> list[Result]:
        chunks = [items[start : start + _MOST] for start in range(0, len(items), _MOST)]
        results = await asyncio.gather(*map(self._commits.write, chunks))
        return [result for chunk in results for result in chunk]

    async def find(self, prediction_id: str, served: ServedModel) -> PredictionForReview:
        """Return a prediction of the served model with its current feedback; wait for it for a short time.

        Raises
        ------
        UnknownPredictionError: this model did not make such a prediction.
        UnavailableError: the store cannot be read, or the prediction may not be in the store yet.
        """
        asked_at, deadline = time.time(), time.monotonic() + _LONGEST_WAIT
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    try:
                        return await asyncio.to_thread(self._find, prediction_id, served, asked_at)
                    except PendingPredictionError:
                        if not await self._wait_for_move(asked_at, deadline):
                            raise
        except TimeoutError:
            raise UnavailableError("the store does not respond") from None
        except StateError as error:
            logger.error("predictions cannot be read from the store: %s", error)
            raise UnavailableError("the store of predictions is down") from None

    async def _wait_for_move(self, asked_at: float, deadline: float) -> bool:
        """Wait until the rows of this machine from before an instant are in the store; return False if too late."""
        self._journal.wake_mover()
        await asyncio.sleep(_POLL)
        while (in_time := time.monotonic() < deadline) and self._journal.moved_until() <= asked_at:
            await asyncio.sleep(_POLL)
        return in_time

    def _find(self, prediction_id: str, served: ServedModel, asked_at: float) -> PredictionForReview:
        store, moved_until = self._open_store(), self._journal.moved_until()
        try:
            return find_for_review(store, prediction_id, served)
        except MissingPredictionError:
            with store.reading() as connection:
                elsewhere = self._elsewhere(store.now(connection))
            if _is_pending(prediction_id, asked_at, moved_until, elsewhere):
                raise _pending(prediction_id) from None
            raise

    def _commit(self, group: Group[Item, Result]) -> list[Result]:
        try:
            store = self._open_store()
            with feedback_transaction(store) as connection:
                items = group.join()
                moved_until = self._journal.moved_until()  # before the store is read
                elsewhere = self._elsewhere(store.now(connection))
                results = record_feedback(connection, [(feedback, served) for feedback, served, _ in items])
        except (StateError, IntegrityError) as error:
            if not self._store_is_down:
                logger.error("feedback cannot be written to the store: %s", error)
            self._store_is_down = True
            raise UnavailableError("the store of feedback is down") from None
        self._store_is_down = False
        for at, (feedback, _, asked_at) in enumerate(items):
            if isinstance(results[at], MissingPredictionError) and _is_pending(
                feedback.prediction_id, asked_at, moved_until, elsewhere
            ):
                results[at] = _pending(feedback.prediction_id)
        return results

    def _elsewhere(self, now: float) -> tuple[str, str] | None:
        """Return the first and last id of predictions that may be in the journal of another machine."""
        return (first_id(now - _ELSEWHERE), first_id(now + _ELSEWHERE)) if self._other_journals else None

    def _report(self, group: Group[Item, Result], results: Sequence[Result]) -> None:
        self._on_recorded([(item, result) for (item, _, _), result in zip(group.items, results, strict=True)])


def _is_pending(prediction_id: str, asked_at: float, moved_until: float, elsewhere: tuple[str, str] | None) -> bool:
    """Return whether a prediction that is not in the store may be in a journal."""
    return moved_until <= asked_at or (elsewhere is not None and elsewhere[0] <= prediction_id < elsewhere[1])


def _pending(prediction_id: str) -> PendingPredictionError:
    return PendingPredictionError(f"prediction {prediction_id} may not be in the store yet")
