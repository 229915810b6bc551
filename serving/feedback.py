"""What the service answers to feedback, sent as JSON."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ratchet.errors import InputError
from ratchet.feedback.requests import read_feedback, read_feedback_batch, read_prediction_id
from ratchet.feedback.signed_links import Links
from ratchet.feedback.table import Recorded, Result, Served
from ratchet.store.timestamps import iso_utc
from serving.exchange import Exchange, Headers
from serving.replies import Reply, answer, refusal
from serving.requests import Receive
from serving.worker import Worker

FORM_PATH = "/feedback/form"
_STATUSES = ("recorded", "repeated", "corrected", "completed", "refused")


class FeedbackEndpoints:
    """The routes by which feedback comes from programs.

    Parameters
    ----------
    worker: the process's worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._exchange = Exchange(worker)
        self._links = Links(worker.settings)
        self._most = worker.settings.max_batch_rows

    async def feedback(self, headers: Headers, receive: Receive) -> Reply | None:
        """Record what somebody says of one prediction; the answer is sent when it is durable."""
        return await self._exchange.take("/feedback", self._feedback, headers, receive)

    async def feedback_batch(self, headers: Headers, receive: Receive) -> Reply | None:
        """Record what is said of many predictions, each as if it came alone."""
        return await self._exchange.take("/feedback_batch", self._feedback_batch, headers, receive)

    async def links(self, headers: Headers, receive: Receive) -> Reply | None:
        """Make a link to the page on which a person answers for one prediction."""
        return await self._exchange.take("/feedback/links", self._link, headers, receive)

    async def _feedback(self, body: bytes, _: float) -> Reply:
        served = served_by(self._worker)
        (result,) = await self._worker.desk.record([read_feedback(body)], served)
        if not isinstance(result, Recorded):
            raise result
        return answer(said_of(result), code_of(result))

    async def _feedback_batch(self, body: bytes, _: float) -> Reply:
        served = served_by(self._worker)
        items = await self._exchange.compute(read_feedback_batch, body, self._most)
        said = [item for item in items if not isinstance(item, InputError)]
        recorded = iter(await self._worker.desk.record(said, served))
        results = [item if isinstance(item, InputError) else next(recorded) for item in items]
        counts = Counter(result.status if isinstance(result, Recorded) else "refused" for result in results)
        return answer({"results": [_line(result) for result in results], "counts": {s: counts[s] for s in _STATUSES}})

    async def _link(self, body: bytes, _: float) -> Reply:
        prediction_id = read_prediction_id(body)
        await self._worker.desk.find(prediction_id, served_by(self._worker))
        token, expires_at = await asyncio.to_thread(self._links.token, prediction_id)
        until = iso_utc(expires_at)
        return answer({"url": f"{FORM_PATH}?token={token}", "expires_at": until})


def served_by(worker: Worker) -> Served:
    """The model that a worker takes feedback for.

    Raises
    ------
    UnavailableError: there is none yet.
    """
    runtime = worker.runtime
    labels = runtime.schema.labels
    return Served(runtime.model, None if labels is None else tuple(labels))


def code_of(recorded: Recorded) -> int:
    """The HTTP status of feedback that was taken: 201 for the first of a prediction."""
    return 201 if recorded.status == "recorded" else 200


def said_of(recorded: Recorded) -> dict[str, Any]:
    """Feedback that was taken, as the answer tells it."""
    standing = recorded.standing
    return {
        "prediction_id": standing.prediction_id,
        "target": standing.target,
        "correct": standing.correct,
        "revision": standing.revision,
        "model": {"name": standing.model, "version": standing.version},
        "status": recorded.status,
    }


def _line(result: Result) -> dict[str, Any]:
    """What came of one item of a batch."""
    if isinstance(result, Recorded):
        return {"code": code_of(result), **said_of(result)}
    refused = refusal(result)
    return {"code": refused.status, **refused.value}
