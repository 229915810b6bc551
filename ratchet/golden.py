"""Golden predictions: a few rows and what the model said of them when it was made.

They travel with the package. A model that is loaded elsewhere, later, or by another version of a library
must say the same before anybody lets it answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.datasets.schema import Schema
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
        return typed_frame([dict(row) for row in self.rows], schema)


def typed_frame(records: list[dict[str, Any]], schema: Schema) -> pd.DataFrame:
    """Records as a frame of the model's feature columns and types, shape (records, features)."""
    columns = {}
    for field in schema.features:
        values = [record.get(field.name) for record in records]
        columns[field.name] = pd.Series(values, dtype="float64" if field.type == "number" else object)
    return pd.DataFrame(columns)


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
    features = chosen[schema.feature_names]
    records = [
        {str(name): None if pd.isna(value) else value for name, value in record.items()}
        for record in features.to_dict(orient="records")
    ]
    # Predict what a reader of the records will predict, so that both see the very same frame.
    frame = typed_frame(records, schema)
    probabilities = model.predict_proba(frame).tolist() if hasattr(model, "predict_proba") else None
    return Golden(rows=tuple(records), predictions=tuple(model.predict(frame).tolist()), probabilities=probabilities)


def check_golden(model: Any, golden: Golden, schema: Schema) -> None:
    """Have the model predict its golden rows again.

    Raises
    ------
    PackageError: a label differs, or a number by more than ``TOLERANCE``.
    """
    frame = golden.frame(schema)
    predictions = model.predict(frame).tolist()
    for i, (got, expected) in enumerate(zip(predictions, golden.predictions, strict=True)):
        same = np.isclose(got, expected, rtol=TOLERANCE, atol=0) if isinstance(expected, float) else got == expected
        if not same:
            raise PackageError(f"golden row {i + 1}: expected the prediction {expected!r}, got {got!r}")
    if golden.probabilities is not None:
        gap = float(np.max(np.abs(model.predict_proba(frame) - np.array(golden.probabilities))))
        if gap > TOLERANCE:
            raise PackageError(f"golden rows: probabilities differ by {gap:.2g}, expected at most {TOLERANCE:g}")
