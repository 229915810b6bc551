"""Build the reference profile of a model from its training rows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.schema import Field, Schema
from ratchet.model.package.histogram import count_categories, count_numbers, count_words, point_cuts
from ratchet.model.package.profile import FeatureProfile, Profile

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

Floats = npt.NDArray[np.float64]

# At most ten bins of at least twenty expected rows: with fewer rows, PSI measures sampling noise
# (its expectation without drift is (bins - 1) * (1/n_reference + 1/n_new); Yurdakul & Naranjo 2020).
MOST_BINS = 10
ROWS_A_BIN = 20
# K-S is exact up to this many distinct values, and off by less than 1 / (MOST_POINTS - 1) for more.
MOST_POINTS = 512
# The column of the predictions.
PREDICTION = "prediction"
# Resolution of a computed number, in standard deviations; smaller differences come from another BLAS or batch size.
_FINEST = 1e-3
# A standard deviation below this share of the group's largest value is rounding noise.
_NO_SPREAD = 1e-6
# Cross-validation of the predictions.
_FOLDS = 3
_MOST_PREDICTED = 2000


def profile_rows(rows: pd.DataFrame, schema: Schema) -> Profile:
    """Profile the features of typed rows, shape (rows, >= features)."""
    features = tuple(_feature(field, rows[field.name]) for field in schema.features if field.type != "time")
    return Profile(n_rows=len(rows), features=features)


def profile_model(model: Pipeline, rows: pd.DataFrame, schema: Schema) -> Profile:
    """Profile the typed rows that a pipeline was fitted on, their embedded features, and out-of-sample predictions.

    Too few rows for a cross-validation have no profile of predictions.
    """
    from ratchet.model.embedding import embed

    embedded = embed(model.named_steps["embed"], rows, schema)
    target = rows[schema.target].to_numpy()
    in_order = schema.time is not None
    predicted = _predict_out_of_sample(model.named_steps["model"], embedded.to_numpy(), target, in_order=in_order)
    noise = _NO_SPREAD * float(np.abs(embedded.to_numpy()).max(initial=0.0))
    return profile_rows(rows, schema).model_copy(
        update={
            "embedded": tuple(_number(str(name), embedded[name], noise=noise) for name in embedded),
            "predictions": () if predicted is None else (_prediction(pd.Series(predicted), schema),),
        }
    )


def sample_rows(n_rows: int, most: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """Return the positions of a seeded sample without replacement, in order; all of them if there are few enough."""
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, most, replace=False))


def _prediction(predicted: pd.Series[Any], schema: Schema) -> FeatureProfile:
    if schema.labels is None:
        return _number(PREDICTION, predicted, noise=_NO_SPREAD * float(predicted.abs().max()))
    return _category(PREDICTION, predicted, tuple(str(label) for label in schema.labels))


def _predict_out_of_sample(
    model: BaseEstimator, features: Floats, target: npt.NDArray[Any], *, in_order: bool
) -> npt.NDArray[Any] | None:
    """Predict a seeded sample of the rows by cross-validation; return None if there are too few rows for it.

    An estimator that overfits repeats the target on its own training rows. Its predictions there have more spread than
    later ones, and as a reference they would show drift without any. The same holds for the neighbours of a row in a
    series, so that the folds of rows in order are blocks.
    """
    from sklearn.base import is_classifier
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

    chosen = sample_rows(len(target), _MOST_PREDICTED)
    kind = StratifiedKFold if is_classifier(model) else KFold
    folds = kind(_FOLDS) if in_order else kind(_FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(cross_val_predict(model, features[chosen], target[chosen], cv=folds))
        except ValueError:  # too few rows, or too few of a class
            return None


def _feature(field: Field, values: pd.Series[Any]) -> FeatureProfile:
    if field.type == "category":
        return _category(field.name, values, field.categories or ())
    if field.type == "text":
        return _number(field.name, pd.Series(count_words(values))).model_copy(update={"type": "text"})
    return _number(field.name, values)


def _category(name: str, values: pd.Series[Any], categories: tuple[str, ...]) -> FeatureProfile:
    counted = count_categories(values, categories)
    return FeatureProfile(
        name=name, type="category", categories=categories, counts=counted.cells, missing=counted.missing
    )


def _number(name: str, values: pd.Series[Any], noise: float | None = None) -> FeatureProfile:
    """Profile a number; ``noise`` is the standard deviation of rounding noise in a computed one."""
    present = values.dropna().to_numpy(dtype=np.float64)
    std = float(present.std()) if len(present) else 0.0
    resolution = 0.0 if noise is None else _FINEST * max(std, noise)
    if resolution:
        present = np.rint(present / resolution) * resolution
    ordered = np.sort(present)
    edges, points = _edges(ordered), _points(ordered)
    return FeatureProfile(
        name=name,
        type="number",
        edges=tuple(edges.tolist()),
        counts=count_numbers(ordered, edges).cells,
        missing=len(values) - len(present),
        mean=float(present.mean()) if len(present) else None,
        std=std if len(present) else None,
        points=tuple(points.tolist()),
        point_counts=count_numbers(ordered, point_cuts(points.tolist())).cells,
        resolution=resolution,
    )


def _edges(ordered: Floats) -> Floats:
    """Return quantiles as bin edges, so that bins have about equal counts; ties leave fewer bins.

    A value that fills a bin alone gets its own bin, so a change of a constant or of a column of zeros with a few ones
    is visible.
    """
    if not len(ordered):
        return np.array([], dtype=np.float64)
    bins = int(np.clip(len(ordered) // ROWS_A_BIN, 2, MOST_BINS))
    inner = np.unique(np.quantile(ordered, np.linspace(0, 1, bins + 1)[1:-1]))
    rows = np.searchsorted(ordered, inner, side="right") - np.searchsorted(ordered, inner)
    own = inner[rows * bins >= len(ordered)]
    return np.union1d(inner, np.nextafter(own, np.inf))


def _points(ordered: Floats) -> Floats:
    distinct = np.unique(ordered)
    if len(distinct) <= MOST_POINTS:
        return distinct
    return np.unique(ordered[np.linspace(0, len(ordered) - 1, MOST_POINTS).round().astype(np.intp)])
