"""The peer that most projects have: FastAPI, a Pydantic record, and the pipeline out of a joblib file."""

from __future__ import annotations

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(os.environ["BENCH_JOBLIB"])
app = FastAPI()


class Iris(BaseModel):
    """One record."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class Answer(BaseModel):
    """The class's name, and how sure the model is of each."""

    label: str
    probabilities: dict[str, float]


@app.post("/predict")
def predict(record: Iris) -> Answer:
    """Classify one record."""
    row = pd.DataFrame([record.model_dump()])
    probabilities = zip(model.classes_, model.predict_proba(row)[0], strict=True)
    return Answer(label=model.predict(row)[0], probabilities=dict(probabilities))
