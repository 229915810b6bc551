"""What the service answers. The hot path and BentoML's own API call the same functions, so that both answer alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import uuid_utils

from ratchet.errors import UnavailableError
from ratchet.explanation import explain
from ratchet.predictions import Prediction
from ratchet.records import Record
from ratchet.runtime import Answer, Runtime
from serving.replies import Reply, answer, refuse
from serving.requests import ClientLeftError, Receive, read_json_body
from serving.worker import Worker

Headers = Iterable[tuple[bytes, bytes]]


class Endpoints:
    """The routes that take a body.

    Parameters
    ----------
    worker: the process's worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._telemetry = worker.telemetry
        self._log = worker.log
        self._most = worker.settings.max_body_bytes
        self._timeout = worker.settings.request_timeout

    async def predict(self, headers: Headers, receive: Receive) -> Reply | None:
        """Answer one record; the answer is sent when its row is durable."""
        return await self._counted("/predict", self._predict, headers, receive)

    async def predict_batch(self, headers: Headers, receive: Receive) -> Reply | None:
        """Answer many records at once."""
        return await self._counted("/predict_batch", self._predict_batch, headers, receive)

    async def explain(self, headers: Headers, receive: Receive) -> Reply | None:
        """Say what each feature of one record contributed."""
        return await self._counted("/explain", self._explain, headers, receive)

    def refused(self, route: str, status: int, kind: str) -> None:
        """Count a request that was refused before it came here."""
        self._telemetry.error(kind)
        self._telemetry.request(route, status, 0.0)

    async def _counted(
        self, route: str, handle: Callable[[bytes, float], Awaitable[Any]], headers: Headers, receive: Receive
    ) -> Reply | None:
        """A handler's value as a reply, whatever happens; None where nobody waits for one."""
        started = time.perf_counter()
        self._telemetry.in_flight += 1
        try:
            body = await read_json_body(headers, receive, self._most, self._timeout)
            reply = answer(await handle(body, started))
        except ClientLeftError:
            self._telemetry.error("client_left")
            return None
        except Exception as error:
            reply, kind = refuse(error)
            self._telemetry.error(kind)
        finally:
            self._telemetry.in_flight -= 1
        self._telemetry.request(route, reply.status, time.perf_counter() - started)
        return reply

    async def _computed(self, compute: Callable[..., Any], *arguments: Any) -> Any:
        """Run a long computation on its thread, in time.

        Raises
        ------
        UnavailableError: others that came before it take too long, or it does itself.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                return await loop.run_in_executor(self._worker.executor, compute, *arguments)
        except TimeoutError:
            raise UnavailableError(f"this was not computed within {self._timeout:g} s") from None

    async def _predict(self, body: bytes, started: float) -> dict[str, Any]:
        runtime = self._worker.runtime
        record = runtime.reader.read(body)
        found = runtime.predict((record,))[0]
        row = _row(runtime, record, found, time.time(), time.perf_counter() - started)
        await self._log.write((row,))
        return {**_said(row), "model": _named(runtime)}

    async def _predict_batch(self, body: bytes, started: float) -> dict[str, Any]:
        runtime = self._worker.runtime
        rows = await self._computed(_rows, runtime, body, started)
        await self._log.write(rows)
        return {"predictions": [_said(row) for row in rows], "model": _named(runtime)}

    async def _explain(self, body: bytes, _: float) -> dict[str, Any]:
        runtime = self._worker.runtime
        record = runtime.reader.read(body)
        found = await self._computed(explain, runtime, record)
        said: dict[str, Any] = {"prediction": found.answer.prediction, "probabilities": found.answer.probabilities}
        said |= {"output": found.output, "base": found.base, "contributions": found.contributions}
        said |= {"method": found.method, "model": _named(runtime)}
        return {key: value for key, value in said.items() if value is not None}


def describe(runtime: Runtime) -> dict[str, Any]:
    """What ``/model`` says: signature, version, lineage ids, metrics."""
    schema = runtime.schema
    features = [field.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for field in schema.features]
    return {
        **_named(runtime),
        "digest": runtime.digest,
        "engine": runtime.engine_name,
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
