"""A package as a model of MLflow, whose signature has the types that pandas gives the columns of the training file."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.schema import Field, Schema
from ratchet.model.package.trusted_types import TRUSTED_TYPES

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from sklearn.pipeline import Pipeline

# MLflow's types of predictions, by NumPy's kind.
_OUTPUT_TYPES = {"b": "boolean", "i": "long", "u": "long", "f": "double"}
_REQUIREMENTS = ("scikit-learn", "skops", "numpy", "scipy", "pandas")


def save_mlflow_model(folder: Path, model: Pipeline, features: pd.DataFrame, schema: Schema) -> None:
    """Write a pipeline in MLflow's format, with the signature of the features."""
    import mlflow.sklearn

    mlflow.sklearn.save_model(
        model,
        str(folder),
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        signature=signature_of(schema, model.predict(features.head(5))),
        input_example=example_of(features, schema),
        # MLflow would take ten seconds to infer them, and guess.
        pip_requirements=requirements(),
    )


def requirements() -> list[str]:
    """Return the exact pip requirements for loading a package."""
    return [f"{name}=={metadata.version(name)}" for name in _REQUIREMENTS]


def signature_of(schema: Schema, predictions: npt.NDArray[Any]) -> ModelSignature:
    """Return the signature of a model with the features of a schema.

    MLflow converts neither long integers nor booleans to double, so that a double would refuse the training file.
    Integers of which some were missing are double, as in ``pandas.read_csv``. Categories, texts and times are strings.
    The output is a column with the target's name.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec
    from mlflow.types import Schema as Columns

    inputs = Columns([ColSpec(_type_of(field), field.name) for field in schema.features])
    kind = _OUTPUT_TYPES.get(np.asarray(predictions.tolist()).dtype.kind, "string")
    return ModelSignature(inputs=inputs, outputs=Columns([ColSpec(kind, schema.target)]))


def example_of(features: pd.DataFrame, schema: Schema) -> pd.DataFrame | None:
    """Return three rows in the types of the signature; None where each row lacks a value that is True or False."""
    kinds = {"long": "int64", "boolean": "bool"}
    types = {field.name: kinds[_type_of(field)] for field in schema.features if _type_of(field) in kinds}
    booleans = [name for name, kind in types.items() if kind == "bool"]
    whole = features.loc[features[booleans].notna().all(axis=1)].head(3)
    return whole.astype(types) if len(whole) else None


def _type_of(field: Field) -> str:
    if field.type != "number":
        return "string"
    return "boolean" if field.boolean else "long" if field.integer else "double"
