"""Handlers of the routes that take records, and the description of the served model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import uuid_utils

from ratchet.errors import UnavailableError
from ratchet.feedback.audit_sample import is_audited
from ratchet.inference.runtime import Answer, Runtime
from ratchet.inference.shapley import explain
from ratchet.model.record_schema import Record
from ratchet.model.tasks import task_of
from ratchet.store.predictions import Prediction as PredictionRow
from serving.batch_answers import BatchRequest
from serving.responses import BatchResponse, JsonResponse
from serving.schemas import ModelVersion, Prediction
from serving.worker import Worker


class PredictionHandlers:
    """Handlers of ``/predict``, ``/predict_batch`` and ``/explain``."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def begin_predict(self, body: bytes, started: float, done: Callable[[JsonResponse | Exception], None]) -> None:
        """Predict one record; calls ``done`` when its row is durable."""
        runtime = self._worker.runtime
        record = runtime.reader.read(body)
        answer = runtime.predict((record,))[0]
        row = _row(runtime, record, answer, time.perf_counter() - started, self._worker.log.clock_ahead)

        def respond(error: UnavailableError | None) -> None:
            prediction = _prediction(row["id"], answer, self._worker.audit_share)
            done(error or JsonResponse({**prediction, "model": model_version(runtime)}))

        self._worker.log.submit((row,), respond)

    async def predict(self, body: bytes, started: float) -> JsonResponse:
        """Predict one record; returns when its row is durable."""
        response: asyncio.Future[JsonResponse] = asyncio.get_running_loop().create_future()

        def resolve(result: JsonResponse | Exception) -> None:
            if response.done():  # the client has disconnected
                return
            if isinstance(result, Exception):
                response.set_exception(result)
            else:
                response.set_result(result)

        self.begin_predict(body, started, resolve)
        return await response

    async def predict_batch(self, body: bytes, started: float, is_arrow: bool, wants_arrow: bool) -> BatchResponse:
        """Predict many records; returns when all rows are durable."""
        runtime, ahead = self._worker.runtime, self._worker.log.clock_ahead
        request = BatchRequest(
            _new_id(ahead), time.time() - ahead, started, is_arrow, wants_arrow, self._worker.audit_share
        )
        reply = await self._worker.answer_batch(runtime, request, body)
        await self._worker.log.write((reply.batch,))
        return BatchResponse(reply.body, is_arrow=reply.is_arrow)

    async def explain(self, body: bytes, _: float) -> JsonResponse:
        """Compute the contribution of each feature to the prediction of one record."""
        runtime = self._worker.runtime
        record = runtime.reader.read(body)
        found = await self._worker.compute(explain, runtime, record)
        explanation = {
            "prediction": found.answer.prediction,
            "probabilities": found.answer.probabilities,
            "output": found.output,
            "base": found.base,
            "contributions": found.contributions,
            "method": found.method,
            "model": model_version(runtime),
        }
        return JsonResponse({name: value for name, value in explanation.items() if value is not None})


def describe_model(runtime: Runtime) -> dict[str, Any]:
    """Return the body of ``/model``: version, task, signature, lineage and metrics."""
    schema = runtime.schema
    features = [field.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for field in schema.features]
    return {
        **model_version(runtime),
        "digest": runtime.digest,
        "engine": runtime.engine_name,
        "task": task_of(schema).name,
        "signature": {"features": features, "target": schema.target, "labels": schema.labels},
        **runtime.details,
    }


def model_version(runtime: Runtime) -> ModelVersion:
    """Return name and version of a model as responses contain them."""
    return {"name": runtime.model, "version": runtime.version}


def _row(runtime: Runtime, record: Record, answer: Answer, latency: float, ahead: float) -> PredictionRow:
    """Return the row of an answer, with its time and id by the store's clock, which this machine's is ahead of."""
    return {
        "id": _new_id(ahead),
        "created_at": time.time() - ahead,
        "model": runtime.model,
        "version": runtime.version,
        "features": record,
        "prediction": answer.prediction,
        "score": answer.score,
        "probabilities": answer.probabilities,
        "latency": latency,
    }


def _new_id(ahead: float) -> str:
    """Return an id by the store's clock, which this machine's is ahead of."""
    found = uuid_utils.uuid7()
    if ahead:  # its first 48 bits are milliseconds; the rest keeps the order of ids within one of them
        found = uuid_utils.UUID(int=found.int - (int(ahead * 1000) << 80))
    return str(found)


def _prediction(prediction_id: str, answer: Answer, audit_share: float | None) -> Prediction:
    prediction: Prediction = {"prediction_id": prediction_id, "prediction": answer.prediction}
    if answer.probabilities is not None:
        prediction["probabilities"] = answer.probabilities
    if audit_share and is_audited(prediction_id, audit_share):
        prediction["label_wanted"] = True
    return prediction
