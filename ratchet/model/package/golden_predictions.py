"""Golden predictions: a few rows and what the model said of them when it was made.

They travel with the package. A model that is loaded elsewhere, later, or by another version of a library
must say the same before anybody lets it answer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.data.schema import MISSING, Schema
from ratchet.errors import PackageError

# Another BLAS or batch size may move the last bits of a sum; more than this is another model.
TOLERANCE = 1e-9
ROWS = 8


class Golden(BaseModel):
    """Inputs and outputs of a few rows.

    Attributes
    ----------
    rows: one mapping of feature to value a row; None is a missing value.
    predictions: a label or number a row.
    probabilities: one list a row in the order of the model's classes; None where the model gives none.
    """

    model_config = ConfigDict(frozen=True)

    rows: tuple[dict[str, float | str | None], ...]
    predictions: tuple[str | int | float, ...]
    probabilities: tuple[tuple[float, ...], ...] | None = None

    def frame(self, schema: Schema) -> pd.DataFrame:
        """The inputs as the model takes them, shape (rows, features)."""
        return schema.select(pd.DataFrame([dict(row) for row in self.rows], dtype=object))


def record_golden(model: Any, rows: pd.DataFrame, schema: Schema) -> Golden:
    """Choose rows, evenly spaced over the targets in order, and write down what the model says of them.

    Parameters
    ----------
    model: a fitted pipeline.
    rows: typed rows, features and target.
    schema: which column is what.
    """
    ordered = rows.sort_values(schema.target, kind="stable")
    chosen = ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, ROWS).astype(int))]
    features = schema.select(chosen)
    records = [
        {str(name): None if pd.isna(value) or value == MISSING else value for name, value in record.items()}
        for record in features.to_dict(orient="records")
    ]
    # Predict what a reader of the records will predict, so that both see the very same frame.
    inputs = Golden(rows=tuple(records), predictions=())
    frame = inputs.frame(schema)
    return inputs.model_copy(
        update={
            "predictions": tuple(model.predict(frame).tolist()),
            "probabilities": _as_tuples(model.predict_proba(frame)) if hasattr(model, "predict_proba") else None,
        }
    )


def golden_gap(model: Any, golden: Golden, schema: Schema) -> float:
    """How far a model is from its golden predictions: the largest difference, infinite where a label differs.

    Probabilities are compared absolutely, a regression's numbers relatively.
    """
    frame = golden.frame(schema)
    predicted = np.asarray(model.predict(frame)).tolist()
    if any(isinstance(value, float) for value in golden.predictions):
        expected = np.array(golden.predictions, dtype=float)
        return float(np.max(np.abs(np.array(predicted, dtype=float) - expected) / np.maximum(np.abs(expected), 1e-300)))
    if predicted != list(golden.predictions):
        return math.inf
    if golden.probabilities is None:
        return 0.0
    return float(np.max(np.abs(model.predict_proba(frame) - np.array(golden.probabilities))))


def check_golden(model: Any, golden: Golden, schema: Schema) -> None:
    """Have the model predict its golden rows again.

    Raises
    ------
    PackageError: a label differs, or a number by more than ``TOLERANCE``.
    """
    gap = golden_gap(model, golden, schema)
    if gap == math.inf:
        raise PackageError("golden rows: the model predicts other labels than when it was made")
    if gap > TOLERANCE:
        raise PackageError(f"golden rows: predictions differ by {gap:.2g}, expected at most {TOLERANCE:g}")


def _as_tuples(probabilities: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in probabilities.tolist())
