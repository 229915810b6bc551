"""What several kinds of embedder do with a column: numbers scaled, categories one-hot, components counted."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from ratchet.config.embed import Scaler
from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError, nearest

SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}


def names_of(schema: Schema, kind: str) -> list[str]:
    """The features of a type, in their order."""
    return [field.name for field in schema.features if field.type == kind]


def numbers(scaler: Scaler) -> Pipeline:
    """Impute and scale; gaps are filled whether or not these rows have any, since production may."""
    steps: list[tuple[str, Any]] = [("impute", SimpleImputer(strategy="median", keep_empty_features=True))]
    if scaler != "none":
        steps.append(("scale", SCALERS[scaler]()))
    return Pipeline(steps)


def parts(schema: Schema, scaler: Scaler) -> list[tuple[str, Any, list[str]]]:
    """The parts of a ColumnTransformer for numbers and categories, without those that have no column."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    both = [
        ("number", numbers(scaler), names_of(schema, "number")),
        ("category", one_hot, names_of(schema, "category")),
    ]
    return [part for part in both if part[2]]


def encoder_of(schema: Schema, scaler: Scaler) -> Any:
    """The unfitted encoder of a table of numbers and categories; a time is left out."""
    return numbers(scaler) if schema.numeric else ColumnTransformer(parts(schema, scaler))


def field_of(schema: Schema, name: str, key: str) -> Field:
    """The feature that a config names.

    Raises
    ------
    ConfigError: there is none; names the nearest.
    """
    found = next((field for field in schema.features if field.name == name), None)
    if found is None:
        raise ConfigError(f"{key}: there is no feature {name!r}{nearest(name, schema.feature_names)}")
    return found


def refuse(schema: Schema, kind: str, types: tuple[str, ...]) -> None:
    """Refuse columns that a kind of embedder cannot take.

    Parameters
    ----------
    schema: what the feature columns hold.
    kind: the embedder's.
    types: that it cannot take.

    Raises
    ------
    ConfigError: names the first such column.
    """
    for field in schema.features:
        if field.type in types:
            raise ConfigError(
                f"embed.kind: {kind} cannot take the column {field.name!r} of type {field.type}:"
                " name it in dataset.drop, or choose another kind"
            )


def require_components(wanted: int | None, rows: int, width: int, what: str = "encoded features") -> int:
    """How many components there are to be: as many as wanted, else all that the data allow.

    Raises
    ------
    ConfigError: more are wanted than the data allow.
    """
    most = min(rows, width)
    if wanted is not None and wanted > most:
        raise ConfigError(
            f"embed.n_components: got {wanted}, but {width} {what} in {rows} training rows allow at most {most}"
        )
    return wanted or most
