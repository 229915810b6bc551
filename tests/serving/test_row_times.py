"""The time and the id of a prediction."""

from __future__ import annotations

import time
import uuid

import pytest

from ratchet.inference.runtime import Answer
from ratchet.store.predictions import first_id
from serving.predictions import _row


class Served:
    model, version = "iris", "1"


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0])
def test_a_row_has_the_time_of_the_store(ahead: float) -> None:
    answer = Answer(prediction="setosa", score=None, probabilities=None)
    rows = [_row(Served(), {}, answer, 0.001, ahead) for _ in range(100)]  # type: ignore[arg-type]
    expected = time.time() - ahead
    for row in rows:
        assert row["created_at"] == pytest.approx(expected, abs=10)
        assert first_id(expected - 10) < row["id"] < first_id(expected + 10)
        assert uuid.UUID(row["id"]).version == 7
    assert len({row["id"] for row in rows}) == 100
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
