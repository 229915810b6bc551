"""Handlers of the routes that take feedback as JSON."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ratchet.errors import InputError
from ratchet.feedback.requests import read_feedback, read_feedback_batch, read_prediction_id
from ratchet.feedback.table import Recorded as RecordedFeedback
from ratchet.feedback.table import Result, ServedModel
from ratchet.store.timestamps import iso_utc
from serving.responses import JsonResponse, reply_to_error
from serving.schemas import Link, Recorded
from serving.worker import Worker

FORM_PATH = "/feedback/form"
_OUTCOMES = ("recorded", "repeated", "corrected", "completed", "refused")


class FeedbackHandlers:
    """Handlers of ``/feedback``, ``/feedback_batch`` and ``/feedback/links``."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def record(self, body: bytes, _: float) -> JsonResponse:
        """Record feedback on one prediction; returns when it is durable."""
        served = served_model(self._worker)
        (result,) = await self._worker.feedback.record([read_feedback(body)], served)
        if not isinstance(result, RecordedFeedback):
            raise result
        return JsonResponse(_recorded(result), _status(result))

    async def record_batch(self, body: bytes, _: float) -> JsonResponse:
        """Record feedback on many predictions, each independently of the others."""
        served, max_items = served_model(self._worker), self._worker.settings.max_batch_rows
        items = await self._worker.compute(read_feedback_batch, body, max_items)
        valid = [item for item in items if not isinstance(item, InputError)]
        recorded = iter(await self._worker.feedback.record(valid, served))
        results = [item if isinstance(item, InputError) else next(recorded) for item in items]
        counts = Counter(result.status if isinstance(result, RecordedFeedback) else "refused" for result in results)
        return JsonResponse(
            {"results": [_item(result) for result in results], "counts": {name: counts[name] for name in _OUTCOMES}}
        )

    async def create_link(self, body: bytes, _: float) -> JsonResponse:
        """Create a link to the feedback form of one prediction."""
        prediction_id = read_prediction_id(body)
        await self._worker.feedback.find(prediction_id, served_model(self._worker))
        token, expires_at = await asyncio.to_thread(self._worker.links.token, prediction_id)
        link: Link = {"url": f"{FORM_PATH}?token={token}", "expires_at": iso_utc(expires_at)}
        return JsonResponse(link)


def served_model(worker: Worker) -> ServedModel:
    """Return the model that a worker accepts feedback for.

    Raises
    ------
    UnavailableError: no model is loaded.
    """
    runtime = worker.runtime
    labels = runtime.schema.labels
    return ServedModel(runtime.model, None if labels is None else tuple(labels))


def _status(result: RecordedFeedback) -> int:
    return 201 if result.status == "recorded" else 200


def _recorded(result: RecordedFeedback) -> Recorded:
    current = result.current
    return {
        "prediction_id": current.prediction_id,
        "target": current.target,
        "correct": current.correct,
        "revision": current.revision,
        "model": {"name": current.model, "version": current.version},
        "status": result.status,
    }


def _item(result: Result) -> dict[str, Any]:
    if isinstance(result, RecordedFeedback):
        return {"code": _status(result), **_recorded(result)}
    reply = reply_to_error(result)
    return {"code": reply.status, **reply.body}
