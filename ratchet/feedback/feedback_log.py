"""The feedback log: feedback of many requests in one transaction, and no acknowledgement before it is durable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from sqlalchemy.exc import IntegrityError

from ratchet.errors import StateError, UnavailableError
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import (
    PredictionForReview,
    Result,
    ServedModel,
    feedback_transaction,
    find_for_review,
    record_feedback,
)
from ratchet.inference.spill_journal import Journal
from ratchet.store.database import Store
from ratchet.store.group_commit import Group, GroupCommit

Item = tuple[Feedback, ServedModel]
Outcome = tuple[Feedback, Result]

logger = logging.getLogger(__name__)

# Number of items in one transaction; predictions wait for it.
_MOST = 500


class FeedbackLog:
    """Records feedback for one event loop.

    Parameters
    ----------
    open_store: returns the store; called for each transaction.
    journal: holds the predictions that are not in the store yet.
    timeout: seconds after which feedback that is not durable is refused.
    on_recorded: receives the outcomes of each transaction, on a thread.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        journal: Journal,
        *,
        timeout: float = 30.0,
        on_recorded: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
    ) -> None:
        self._open_store = open_store
        self._journal = journal
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

        Returns the result of each item, as ``record_feedback`` does, when all of them are durable.

        Raises
        ------
        UnavailableError: it may not be durable; the client may send it again.
        """
        items = [(item, served) for item in feedback]
        chunks = [items[start : start + _MOST] for start in range(0, len(items), _MOST)]
        results = await asyncio.gather(*map(self._commits.write, chunks))
        return [result for chunk in results for result in chunk]

    async def find(self, prediction_id: str, served: ServedModel) -> PredictionForReview:
        """Return a prediction of the served model with its current feedback.

        Raises
        ------
        UnknownPredictionError: this model did not make such a prediction.
        UnavailableError: the store cannot be read, or the prediction may not be in the store yet.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.to_thread(self._find, prediction_id, served)
        except TimeoutError:
            raise UnavailableError("the store does not respond") from None
        except StateError as error:
            logger.error("predictions cannot be read from the store: %s", error)
            raise UnavailableError("the store of predictions is down") from None

    def _find(self, prediction_id: str, served: ServedModel) -> PredictionForReview:
        pending = self._has_pending_predictions()
        return find_for_review(self._open_store(), prediction_id, served, pending=pending)

    def _has_pending_predictions(self) -> bool:
        """Whether predictions wait outside the store; to be called before the store is read."""
        return bool(self._journal.segments())

    def _commit(self, group: Group[Item, Result]) -> list[Result]:
        try:
            with feedback_transaction(self._open_store()) as connection:
                items = group.join()
                results = record_feedback(connection, items, pending=self._has_pending_predictions())
        except (StateError, IntegrityError) as error:
            if not self._store_is_down:
                logger.error("feedback cannot be written to the store: %s", error)
            self._store_is_down = True
            raise UnavailableError("the store of feedback is down") from None
        self._store_is_down = False
        return results

    def _report(self, group: Group[Item, Result], results: Sequence[Result]) -> None:
        self._on_recorded([(item, result) for (item, _), result in zip(group.items, results, strict=True)])
