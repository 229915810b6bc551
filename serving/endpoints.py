"""What the service answers to records, by functions that the hot path and BentoML's own API both call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import uuid_utils

from ratchet.inference.runtime import Answer, Runtime
from ratchet.inference.shapley import explain
from ratchet.model.record_schema import Record
from ratchet.model.tasks import task_of
from ratchet.store.predictions import Prediction
from serving.exchange import Exchange, Headers
from serving.replies import Reply, answer
from serving.requests import Receive
from serving.worker import Worker


class Endpoints:
    """The routes that take records.

    Parameters
    ----------
    worker: the process's worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._exchange = Exchange(worker)
        self._log = worker.log

    async def predict(self, headers: Headers, receive: Receive) -> Reply | None:
        """Answer one record; the answer is sent when its row is durable."""
        return await self._exchange.take("/predict", self._predict, headers, receive)

    async def predict_batch(self, headers: Headers, receive: Receive) -> Reply | None:
        """Answer many records at once."""
        return await self._exchange.take("/predict_batch", self._predict_batch, headers, receive)

    async def explain(self, headers: Headers, receive: Receive) -> Reply | None:
        """Say what each feature of one record contributed."""
        return await self._exchange.take("/explain", self._explain, headers, receive)

    async def _predict(self, body: bytes, started: float) -> Reply:
        runtime = self._worker.runtime
        record = runtime.reader.read(body)
        found = runtime.predict((record,))[0]
        row = _row(runtime, record, found, time.time(), time.perf_counter() - started)
        await self._log.write((row,))
        return answer({**_said(row), "model": _named(runtime)})

    async def _predict_batch(self, body: bytes, started: float) -> Reply:
        runtime = self._worker.runtime
        rows = await self._exchange.compute(_rows, runtime, body, started)
        await self._log.write(rows)
        return answer({"predictions": [_said(row) for row in rows], "model": _named(runtime)})

    async def _explain(self, body: bytes, _: float) -> Reply:
        runtime = self._worker.runtime
        record = runtime.reader.read(body)
        found = await self._exchange.compute(explain, runtime, record)
        said: dict[str, Any] = {"prediction": found.answer.prediction, "probabilities": found.answer.probabilities}
        said |= {"output": found.output, "base": found.base, "contributions": found.contributions}
        said |= {"method": found.method, "model": _named(runtime)}
        return answer({key: value for key, value in said.items() if value is not None})


def describe(runtime: Runtime) -> dict[str, Any]:
    """What ``/model`` says: task, signature, version, lineage ids, metrics."""
    schema = runtime.schema
    features = [field.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for field in schema.features]
    return {
        **_named(runtime),
        "digest": runtime.digest,
        "engine": runtime.engine_name,
        "task": task_of(schema).name,
        "signature": {"features": features, "target": schema.target, "labels": schema.labels},
        **runtime.details,
    }


def _rows(runtime: Runtime, body: bytes, started: float) -> list[Prediction]:
    records = runtime.reader.read_many(body)
    answers: Sequence[Answer] = runtime.predict(records)
    now, latency = time.time(), time.perf_counter() - started
    return [_row(runtime, record, found, now, latency) for record, found in zip(records, answers, strict=True)]


def _row(runtime: Runtime, record: Record, found: Answer, now: float, latency: float) -> Prediction:
    return {
        "id": str(uuid_utils.uuid7()),
        "created_at": now,
        "model": runtime.model,
        "version": runtime.version,
        "features": record,
        "prediction": found.prediction,
        "score": found.score,
        "probabilities": found.probabilities,
        "latency": latency,
    }


def _said(row: Prediction) -> dict[str, Any]:
    said: dict[str, Any] = {"prediction_id": row["id"], "prediction": row["prediction"]}
    if row["probabilities"] is not None:
        said["probabilities"] = row["probabilities"]
    return said


def _named(runtime: Runtime) -> dict[str, str]:
    return {"name": runtime.model, "version": runtime.version}
