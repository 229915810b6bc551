"""Golden predictions: a few rows and what the model predicted for them when it was packaged.

A model that is loaded later, elsewhere, or with other library versions has to reproduce them before it is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.data.schema import MISSING, Schema
from ratchet.model.package.agreement import Difference, Outputs, difference

# Another BLAS or batch size changes the last bits of a sum; a larger difference is another model.
TOLERANCE = 1e-9
ROWS = 8


class Golden(BaseModel):
    """Inputs and outputs of a few rows.

    Attributes
    ----------
    rows: value by feature for each row; None is a missing value.
    predictions: a label or a number for each row.
    probabilities: for each row, in the order of the model's classes; None if the model has none.
    """

    model_config = ConfigDict(frozen=True)

    rows: tuple[dict[str, float | str | None], ...]
    predictions: tuple[str | int | float, ...]
    probabilities: tuple[tuple[float, ...], ...] | None = None

    @property
    def outputs(self) -> Outputs:
        """What the model predicted when it was packaged."""
        return Outputs(self.predictions, self.probabilities)

    def frame(self, schema: Schema) -> pd.DataFrame:
        """Return the inputs as the model takes them, shape (rows, features)."""
        return schema.select(pd.DataFrame([dict(row) for row in self.rows], dtype=object))


def record_golden(model: Any, rows: pd.DataFrame, schema: Schema) -> Golden:
    """Choose typed rows evenly over the sorted targets, and record the fitted pipeline's predictions for them."""
    ordered = rows.sort_values(schema.target, kind="stable")
    chosen = schema.select(ordered.iloc[np.unique(np.linspace(0, len(ordered) - 1, ROWS).astype(int))])
    records = tuple(
        {str(name): None if pd.isna(value) or value == MISSING else value for name, value in record.items()}
        for record in chosen.to_dict(orient="records")
    )
    # Predict from the records, as every later check does.
    frame = Golden(rows=records, predictions=()).frame(schema)
    probabilities = None
    if hasattr(model, "predict_proba"):
        probabilities = tuple(tuple(row) for row in model.predict_proba(frame).tolist())
    return Golden(rows=records, predictions=tuple(model.predict(frame).tolist()), probabilities=probabilities)


def golden_difference(model: Any, golden: Golden, schema: Schema) -> Difference:
    """Return the difference of a loaded pipeline's predictions from the golden ones."""
    frame = golden.frame(schema)
    probabilities = None if golden.probabilities is None else model.predict_proba(frame)
    return difference(Outputs(np.asarray(model.predict(frame)), probabilities), golden.outputs)
