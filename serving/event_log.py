"""Log lines for predictions and feedback, as JSON on standard output.

The lines are written in batches without the logging module, which takes longer for each than the rest of a request.
A reader of standard output that has stopped does not stop the service: its lines wait, and the newest are dropped.
"""

from __future__ import annotations

import logging
import select
import sys
import threading
from collections.abc import Sequence
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, cast

import orjson

from ratchet.feedback.feedback_log import Outcome
from ratchet.feedback.table import Recorded
from ratchet.inference.prediction_log import Rows
from ratchet.store.prediction_batches import PredictionBatch, column_values, row_id
from ratchet.store.predictions import Prediction
from ratchet.store.timestamps import iso_utc

logger = logging.getLogger(__name__)

# A pipe that is ready takes this many bytes without waiting (POSIX's PIPE_BUF is at least 512, Linux's is 4096).
_TAKEN_AT_ONCE = select.PIPE_BUF
# Bytes that wait for a reader that has stopped.
_MOST_WAITING = 16 * 2**20


class EventLog:
    """Writes a line for each request with predictions, and for each new answer."""

    def __init__(self, *, enabled: bool, include_features: bool) -> None:
        self._enabled = enabled
        self._include_features = include_features
        self._waiting: SimpleQueue[bytes] = SimpleQueue()
        self._bytes_waiting = 0
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def log_predictions(self, requests: Sequence[Rows]) -> None:
        """Write a line for each request whose predictions are durable."""
        if self._enabled:
            self._write([self._prediction(rows) for rows in requests])

    def log_feedback(self, outcomes: Sequence[Outcome]) -> None:
        """Write a line for each answer that is durable and not a repetition."""
        if self._enabled:
            results = (result for _, result in outcomes if isinstance(result, Recorded))
            self._write([_as_line(self._feedback(result)) for result in results if result.status != "repeated"])

    def _write(self, lines: Sequence[bytes]) -> None:
        """Write lines, at once if that does not have to wait for a reader, and otherwise in a thread."""
        if not lines:
            return
        content = b"".join(lines)
        with self._lock:
            if not self._bytes_waiting and len(content) <= _TAKEN_AT_ONCE and _is_ready():
                _write_out(content)
            elif self._bytes_waiting + len(content) > _MOST_WAITING:
                logger.error("%d log lines are dropped: standard output is not read", len(lines))
            else:
                self._bytes_waiting += len(content)
                self._waiting.put(content)
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write_waiting, name="event-log", daemon=True)
                    self._writer.start()

    def _write_waiting(self) -> None:
        while True:
            content = self._waiting.get()
            try:
                _write_out(content)
            except OSError as error:
                logger.debug("log lines were not written: %s", error)
            with self._lock:
                self._bytes_waiting -= len(content)

    def _prediction(self, entries: Rows) -> bytes:
        if isinstance(entries[0], PredictionBatch):
            return _as_line(self._batch(entries[0]))
        rows = cast(Sequence[Prediction], entries)
        return self._one(rows[0]) if len(rows) == 1 else _as_line(self._many(rows))

    def _one(self, row: Prediction) -> bytes:
        """Return the line of one prediction, without the dictionary and its serialization, which take longer."""
        features = b',"features":' + orjson.dumps(row["features"]) if self._include_features else b""
        return b'{"time":"%b","level":"info","event":"prediction","prediction_id":"%b",%b,"latency_ms":%.3f%b}\n' % (
            _timestamp(row["created_at"]).encode(),
            row["id"].encode(),
            _version(row["model"], row["version"]),
            row["latency"] * 1000,
            features,
        )

    def _many(self, rows: Sequence[Prediction]) -> dict[str, Any]:
        row = rows[0]
        line: dict[str, Any] = {
            "time": _timestamp(row["created_at"]),
            "level": "info",
            "event": "predictions",
            "prediction_id": row["id"],
            "model": row["model"],
            "version": row["version"],
            "latency_ms": round(row["latency"] * 1000, 3),
            "last_prediction_id": rows[-1]["id"],
            "count": len(rows),
        }
        if self._include_features:
            line["features"] = [each["features"] for each in rows]
        return line

    def _batch(self, batch: PredictionBatch) -> dict[str, Any]:
        line: dict[str, Any] = {
            "time": _timestamp(batch.created_at),
            "level": "info",
            "event": "predictions",
            "prediction_id": row_id(batch.id, 0),
            "model": batch.model,
            "version": batch.version,
            "latency_ms": round(batch.latency * 1000, 3),
            "last_prediction_id": row_id(batch.id, batch.n_rows - 1),
            "count": batch.n_rows,
        }
        if self._include_features:
            line["features"] = column_values(batch.table().column("features"))
        return line

    @staticmethod
    def _feedback(result: Recorded) -> dict[str, Any]:
        current = result.current
        return {
            "time": _timestamp(current.created_at),
            "level": "info",
            "event": "feedback",
            "prediction_id": current.prediction_id,
            "model": current.model,
            "version": current.version,
            "status": result.status,
            "source": current.source,
            "revision": current.revision,
        }


def _write_out(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _is_ready() -> bool:
    """Whether standard output takes some bytes without waiting."""
    try:
        return bool(select.select((), (sys.stdout,), (), 0)[1])
    except (OSError, ValueError):  # no descriptor, or one beyond those that select takes
        return True


def _as_line(line: dict[str, Any]) -> bytes:
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


@lru_cache(maxsize=8)
def _version(model: str, version: str) -> bytes:
    """Return a model's name and version as members of a JSON object."""
    return orjson.dumps({"model": model, "version": version})[1:-1]


def _timestamp(seconds: float) -> str:
    milliseconds = int(seconds * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return iso_utc(seconds).removesuffix("+00:00")
