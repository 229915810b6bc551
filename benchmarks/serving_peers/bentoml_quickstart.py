"""The BentoML peer, written as its quickstart writes a service: a class, a model loaded once, one API method."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]))
class Iris:
    """Classify iris flowers."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_JOBLIB"])

    @bentoml.api
    def predict(
        self, sepal_length: float, sepal_width: float, petal_length: float, petal_width: float
    ) -> dict[str, Any]:
        """Classify one record."""
        values = [sepal_length, sepal_width, petal_length, petal_width]
        row = pd.DataFrame([values], columns=self.model.feature_names_in_)
        probabilities = self.model.predict_proba(row)[0].tolist()
        return {
            "label": self.model.predict(row)[0],
            "probabilities": dict(zip(self.model.classes_.tolist(), probabilities, strict=True)),
        }
