"""Metrics and log lines of a batch are those of its rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ratchet.inference.prediction_log import Rows
from serving.event_log import EventLog
from serving.metrics import Metrics, _scores
from tests.store_rows import batch_of, prediction

SCORES = [0.1, 0.15, 0.5, 0.99, 1.0]
LABELS: dict[str, list[Any]] = {
    "text": ["setosa", "virginica", "setosa", "setosa", "virginica"],
    "integers": [1, 2, 2, 1, 3],
    "booleans": [True, False, True, True, False],
    "mixed": ["1", 1, "1", 2, "a"],
    "numbers": [1.5, 2.5, 1.5, 0.0, -1.0],
}


def counts(rows: Rows) -> tuple[dict[tuple[str, str, str], int], list[float]]:
    """The counts of predictions and of scores by bucket."""
    metrics = Metrics()
    _scores._pending.clear()
    metrics.count_predictions([rows])
    pending = _scores._pending.pop("iris", [])
    return dict(metrics._predictions), pending


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("scored", [True, False])
def test_a_batch_is_counted_as_its_rows_are(labels: list[Any], scored: bool) -> None:
    scores: list[Any] = SCORES if scored else [None] * len(labels)
    probabilities = {"x": 1.0} if scored else None
    rows = [
        prediction(0, prediction=label, score=score, probabilities=probabilities)
        for label, score in zip(labels, scores, strict=True)
    ]
    batch = batch_of(rows)
    counted, buckets = counts([batch])
    expected, expected_buckets = counts(list(batch.rows()))
    assert counted == expected
    assert sum(counted.values()) == len(labels)
    assert buckets == pytest.approx(expected_buckets)
    assert bool(buckets) == scored


@pytest.mark.parametrize("features", [False, True])
def test_a_batch_has_one_line_as_its_rows_have(features: bool, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    batch = batch_of([prediction(0, features={"x": 1.5}), prediction(0, features={"x": None})])
    log = EventLog(enabled=True, include_features=features)
    log.log_predictions([[batch], list(batch.rows())])
    of_batch, of_rows = map(json.loads, capfdbinary.readouterr().out.splitlines())
    assert of_batch == of_rows
    assert of_batch["count"] == 2
    assert of_batch.get("features") == ([{"x": 1.5}, {"x": None}] if features else None)
