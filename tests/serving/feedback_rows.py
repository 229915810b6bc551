"""Predictions to give feedback on, and the rows of the feedback."""

from __future__ import annotations

from typing import Any

import uuid_utils

from ratchet.feedback.table import feedback_of
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction, insert_predictions
from tests.serving.running import RECORD, Service
from tests.store_rows import prediction

PROBABILITIES = {"setosa": 0.8, "versicolor": 0.1, "virginica": 0.1}


def predicted(service: Service) -> str:
    """The id of a new prediction of setosa."""
    return str(service.post("/predict", RECORD)[1]["prediction_id"])


def inserted(store: Store, model: str, count: int = 1, **changes: Any) -> list[str]:
    """The ids of new rows with predictions of setosa by a model."""
    own = {"model": model, "version": "1", "features": RECORD, "probabilities": PROBABILITIES, **changes}
    rows: list[Prediction] = [prediction(0, **own, id=str(uuid_utils.uuid7())) for _ in range(count)]
    insert_predictions(store, rows)
    return [row["id"] for row in rows]


def history(store: Store, prediction_id: str) -> list[tuple[int, Any, str]]:
    """Revision, target and source of all feedback on a prediction."""
    return [(row.revision, row.target, row.source) for row in feedback_of(store, prediction_id)]
