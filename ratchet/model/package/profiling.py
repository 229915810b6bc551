"""Build the reference profile of a model from its training rows."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.schema import Field, Schema
from ratchet.model.package.histogram import ColumnCounts, count_categories, count_numbers, count_words, point_cuts
from ratchet.model.package.profile import FeatureProfile, Profile

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

# At most ten bins, each expecting twenty rows or more: with fewer, PSI measures sampling noise
# (its expectation without drift is (bins - 1) * (1/n_reference + 1/n_new); Yurdakul & Naranjo 2020).
MOST_BINS = 10
ROWS_A_BIN = 20
# K-S is exact up to so many distinct values; above, it is off by less than 1 / (MOST_POINTS - 1).
MOST_POINTS = 512
# The column of the predictions.
PREDICTION = "prediction"
# A computed number is told apart down to this part of its standard deviation: what lies below is rounding noise of
# another BLAS, batch size or precision, and no drift.
_FINEST = 1e-3
# A standard deviation below this part of the group's largest value is rounding noise too.
_NO_SPREAD = 1e-6
# How the predictions on unseen rows are made.
_FOLDS = 3
_MOST_PREDICTED = 2000


def profile_rows(rows: pd.DataFrame, schema: Schema) -> Profile:
    """Profile the features of some rows.

    Parameters
    ----------
    rows: typed rows, shape (rows, >= features).
    schema: which columns are features, and of what type.
    """
    features = tuple(_feature(field, rows[field.name]) for field in schema.features if field.type != "time")
    return Profile(n_rows=len(rows), features=features)


def profile_model(model: Pipeline, rows: pd.DataFrame, schema: Schema) -> Profile:
    """Profile the training rows, their embedded features, and what the model says of rows that it was not fitted on.

    Parameters
    ----------
    model: the fitted pipeline, with the steps ``embed`` and ``model``.
    rows: the typed rows it was fitted on, features and target.
    schema: which column is what.
    """
    from ratchet.model.embedding import embed

    embedded = embed(model.named_steps["embed"], rows, schema)
    largest = float(np.abs(embedded.to_numpy()).max(initial=0.0))
    said = pd.Series(_predict_unseen(model.named_steps["model"], embedded.to_numpy(), rows[schema.target].to_numpy()))
    if schema.labels is None:
        prediction = _number(PREDICTION, said, noise=_NO_SPREAD * float(said.abs().max()))
    else:
        prediction = _category(PREDICTION, said, tuple(str(label) for label in schema.labels))
    return profile_rows(rows, schema).model_copy(
        update={
            "embedded": tuple(_number(str(name), embedded[name], noise=_NO_SPREAD * largest) for name in embedded),
            "predictions": (prediction,),
        }
    )


def _predict_unseen(
    model: BaseEstimator, features: npt.NDArray[np.float64], target: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """What the estimator says of rows that it has not seen, by cross-validation on a seeded sample of the rows.

    On the rows that it was fitted on, an estimator that overfits repeats the target, and so spreads its answers wider
    than it ever will again; as a reference, that would show drift where there is none.
    """
    from sklearn.base import is_classifier
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict

    chosen = sample_rows(len(target), _MOST_PREDICTED)
    folds = (StratifiedKFold if is_classifier(model) else KFold)(_FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(cross_val_predict(model, features[chosen], target[chosen], cv=folds))
        except ValueError:  # too few rows, or too few of a class
            return np.asarray(model.predict(features[chosen]))


def sample_rows(n_rows: int, most: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """Positions of a seeded sample without replacement, in order; all of them where there are no more than asked."""
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, most, replace=False))


def _feature(field: Field, values: pd.Series[Any]) -> FeatureProfile:
    if field.type == "category":
        return _category(field.name, values, field.categories or ())
    if field.type == "text":
        words = pd.Series(count_words(values))
        return _number(field.name, words).model_copy(update={"type": "text"})
    return _number(field.name, values)


def _category(name: str, values: pd.Series[Any], categories: tuple[str, ...]) -> FeatureProfile:
    counted = count_categories(values, categories)
    return FeatureProfile(
        name=name, type="category", categories=categories, counts=counted.cells, missing=counted.missing
    )


def _number(name: str, values: pd.Series[Any], noise: float | None = None) -> FeatureProfile:
    """Profile a number.

    Parameters
    ----------
    noise: for a computed number, the standard deviation below which there is nothing but rounding.
    """
    present = values.dropna().to_numpy(dtype=np.float64)
    std = float(present.std()) if len(present) else 0.0
    resolution = 0.0 if noise is None else _FINEST * max(std, noise)
    if resolution:
        present = np.rint(present / resolution) * resolution
    ordered = np.sort(present)
    edges, points = _edges(ordered), _points(ordered)
    counted: ColumnCounts = count_numbers(ordered, edges)
    return FeatureProfile(
        name=name,
        type="number",
        edges=tuple(edges.tolist()),
        counts=counted.cells,
        missing=len(values) - len(present),
        mean=float(present.mean()) if len(present) else None,
        std=std if len(present) else None,
        points=tuple(points.tolist()),
        point_counts=count_numbers(ordered, point_cuts(points.tolist())).cells,
        resolution=resolution,
    )


def _edges(ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quantiles, so that the bins hold about equally many rows; ties leave fewer bins.

    A value that fills a bin by itself gets one of its own, so that a column of zeros with some ones, or of one value
    alone, shows when it changes.
    """
    if not len(ordered):
        return np.array([], dtype=np.float64)
    bins = int(np.clip(len(ordered) // ROWS_A_BIN, 2, MOST_BINS))
    inner = np.unique(np.quantile(ordered, np.linspace(0, 1, bins + 1)[1:-1]))
    rows = np.searchsorted(ordered, inner, side="right") - np.searchsorted(ordered, inner)
    own = inner[rows * bins >= len(ordered)]
    return np.union1d(inner, np.nextafter(own, np.inf))


def _points(ordered: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    distinct = np.unique(ordered)
    if len(distinct) <= MOST_POINTS:
        return distinct
    return np.unique(ordered[np.linspace(0, len(ordered) - 1, MOST_POINTS).round().astype(np.intp)])
