"""Rows of the store, and stores without rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import Result, ServedModel, feedback_transaction, record_feedback
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch, to_array, to_struct
from ratchet.store.predictions import Prediction
from ratchet.store.tables import metadata


def prediction(number: int, **changes: Any) -> Prediction:
    """A row of the table of predictions."""
    row: Any = {
        "id": f"{number:036d}",
        "created_at": 1_700_000_000.25 + number,
        "model": "iris",
        "version": "3",
        "features": {"sepal_length": 5.1, "colour": "blue"},
        "prediction": "setosa",
        "score": 0.75,
        "probabilities": {"setosa": 0.75, "virginica": 0.25},
        "latency": 0.002,
    }
    return row | changes


def batch_of(rows: Sequence[Prediction], number: int = 1, **changes: Any) -> PredictionBatch:
    """A batch with the records and answers of some rows."""
    values: dict[str, Any] = {
        "batch_id": f"{number:036d}",
        "created_at": 1_700_000_000.25 + number,
        "model": "iris",
        "version": "3",
        "latency": 0.002,
    }
    values |= {name: to_array([row[name] for row in rows]) for name in ("prediction", "score")}
    values["features"] = to_struct([row["features"] for row in rows])
    if rows[0]["probabilities"] is None:
        del values["score"]
    else:
        values["probabilities"] = to_struct([row["probabilities"] or {} for row in rows])
    return PredictionBatch.from_columns(**(values | changes))


def record_all(store: Store, items: Sequence[tuple[Feedback, ServedModel]]) -> list[Result]:
    """Record feedback in one transaction."""
    with feedback_transaction(store) as connection:
        return record_feedback(connection, items)


def emptied(store: Store) -> Store:
    """The store without its rows; its counters go on."""
    with store.transaction() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.delete(table))
    return store


def url_of(store: Store) -> str:
    """What opens the same store again, here or in another process."""
    return store.engine.url.render_as_string(hide_password=False)
