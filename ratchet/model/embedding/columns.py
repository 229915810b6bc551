"""Parts that several embedders share: scaled numbers, one-hot categories, and the checks of columns and components."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from ratchet.config.embed import Scaler
from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError
from ratchet.nearest_names import nearest

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}


def names_of(schema: Schema, kind: str) -> list[str]:
    """Return the features of a type, in their order."""
    return [field.name for field in schema.features if field.type == kind]


def parts(schema: Schema, scaler: Scaler) -> list[tuple[str, Any, list[str]]]:
    """Return the parts of a ColumnTransformer for the numbers and the categories that a schema has."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    both = [
        ("number", _numbers(scaler), names_of(schema, "number")),
        ("category", one_hot, names_of(schema, "category")),
    ]
    return [part for part in both if part[2]]


def encoder_of(schema: Schema, scaler: Scaler) -> Any:
    """Return the unfitted encoder of a table of numbers and categories; a time is left out."""
    return _numbers(scaler) if schema.numeric else ColumnTransformer(parts(schema, scaler))


def field_of(schema: Schema, name: str, key: str) -> Field:
    """Return the feature that a config names in ``key``.

    Raises
    ------
    ConfigError: the schema lacks it; the message has the nearest name.
    """
    found = next((field for field in schema.features if field.name == name), None)
    if found is None:
        raise ConfigError(f"{key}: there is no feature {name!r}{nearest(name, schema.feature_names)}")
    return found


def refuse(schema: Schema, kind: str, types: tuple[str, ...]) -> None:
    """Refuse a schema with features of types that a kind of embedder cannot take.

    Raises
    ------
    ConfigError: the message has the first such feature.
    """
    for field in schema.features:
        if field.type in types:
            raise ConfigError(
                f"embed.kind: {kind} cannot take the column {field.name!r} of type {field.type}:"
                " name it in dataset.drop, or choose another kind"
            )


def require_components(wanted: int | None, rows: int, width: int, what: str = "encoded features") -> int:
    """Return the number of components: the configured one, else the largest that the data allow.

    Raises
    ------
    ConfigError: more are configured than the data allow.
    """
    most = min(rows, width)
    if wanted is not None and wanted > most:
        raise ConfigError(
            f"embed.n_components: got {wanted}, but {width} {what} in {rows} training rows allow at most {most}"
        )
    return wanted or most


def _numbers(scaler: Scaler) -> Pipeline:
    """Impute and scale; the imputer is kept for rows without gaps too, since requests may have some."""
    steps: list[tuple[str, Any]] = [("impute", SimpleImputer(strategy="median", keep_empty_features=True))]
    if scaler != "none":
        steps.append(("scale", SCALERS[scaler]()))
    return Pipeline(steps)
