"""Many rows in one request, in turn with scikit-learn on the same rows in this process."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import joblib
import pandas as pd
from serving_peers.servers import Model, check_labels, post
from sklearn.datasets import load_iris

ROWS, TURNS = 10_000, 5
PATH = "/predict_batch"


@dataclass
class Batch:
    """Milliseconds for the rows of a batch: by a request, and by ``predict_proba`` in this process."""

    request: list[float] = field(default_factory=list)
    in_process: list[float] = field(default_factory=list)

    @property
    def request_ms(self) -> float:
        """Median of the requests."""
        return statistics.median(self.request)

    @property
    def in_process_ms(self) -> float:
        """Median of ``predict_proba``."""
        return statistics.median(self.in_process)

    def as_dict(self) -> dict[str, float]:
        """The medians and how many turns there were, for the result file."""
        medians = {"request": round(self.request_ms, 4), "in_process": round(self.in_process_ms, 4)}
        return {**medians, "turns": len(self.request)}


def take_turns(port: int, model: Model, batch: Batch) -> None:
    """Time the request and ``predict_proba`` one after the other; the first turn warms up and checks the answer.

    Raises
    ------
    RuntimeError: the answer is an error, or has other labels than the pipeline.
    """
    pipeline = joblib.load(model.joblib)
    frame = _rows(pipeline)
    body = json.dumps({"rows": frame.to_dict("records")}).encode()
    _request(port, body, pipeline.predict(frame).tolist())
    pipeline.predict_proba(frame)
    for _ in range(TURNS):
        batch.request.append(_request(port, body))
        begun = time.perf_counter()
        pipeline.predict_proba(frame)
        batch.in_process.append(_ms_since(begun))


def _rows(pipeline: Any) -> pd.DataFrame:
    """Iris flowers, drawn again and again."""
    flowers: pd.DataFrame = load_iris(as_frame=True).data.set_axis(pipeline.feature_names_in_, axis="columns")
    return flowers.sample(ROWS, replace=True, random_state=0, ignore_index=True)


def _request(port: int, body: bytes, labels: list[str] | None = None) -> float:
    begun = time.perf_counter()
    status, answer = post(port, PATH, body)
    taken = _ms_since(begun)
    if status != 200:
        raise RuntimeError(f"{PATH}: status {status}: {answer[:400]!r}")
    if labels is not None:
        check_labels(answer, labels, PATH)
    return taken


def _ms_since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000
