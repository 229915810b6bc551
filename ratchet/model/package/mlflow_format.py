"""Write a pipeline in MLflow's model format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.model.package.trusted_types import TRUSTED_TYPES


def save_mlflow_model(folder: Path, model: Any, features: pd.DataFrame, requirements: list[str]) -> None:
    """Write a pipeline with signature, input example and explicit requirements.

    Parameters
    ----------
    folder: has to be empty, or not to exist.
    model: a fitted pipeline.
    features: rows that define the signature, shape (rows, features).
    requirements: exact pip requirements; MLflow would take ten seconds to infer them, and guess.
    """
    import mlflow.sklearn
    from mlflow.models import infer_signature

    mlflow.sklearn.save_model(
        model,
        str(folder),
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        signature=infer_signature(features, model.predict(features.head(5))),
        input_example=features.head(3),
        pip_requirements=requirements,
    )
