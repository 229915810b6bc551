"""The reference profile: what the training rows looked like, small enough to travel with the model."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.datasets.schema import Field, Schema

# At most ten bins, each expecting twenty rows or more: with fewer, PSI measures sampling noise
# (its expectation without drift is (bins - 1) * (1/n_reference + 1/n_new); Yurdakul & Naranjo 2020).
MOST_BINS = 10
ROWS_A_BIN = 20


class FeatureProfile(BaseModel):
    """One feature's histogram.

    Attributes
    ----------
    edges: for a number, the inner bin edges, ascending; bins are half-open to the right, the outer two unbounded.
    categories: for a category, the known values; one more bin counts all others.
    counts: rows a bin, missing values left out.
    missing: rows without a value.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...]
    missing: int
    mean: float | None = None
    std: float | None = None


class Profile(BaseModel):
    """All features of a set of rows."""

    model_config = ConfigDict(frozen=True)

    n_rows: int
    features: tuple[FeatureProfile, ...]


def profile_rows(rows: pd.DataFrame, schema: Schema) -> Profile:
    """Profile the training rows.

    Parameters
    ----------
    rows: typed rows, shape (rows, >= features).
    schema: which columns are features, and of what type.
    """
    return Profile(n_rows=len(rows), features=tuple(_profile(rows[f.name], f) for f in schema.features))


def bin_counts(values: pd.Series[Any], feature: FeatureProfile) -> npt.NDArray[np.int64]:
    """How many values fall into each bin of a profiled feature, missing ones left out; shape (bins,)."""
    present = values.dropna()
    if feature.type == "number":
        bins = np.searchsorted(np.array(feature.edges), present.to_numpy(dtype=float), side="right")
    else:
        known = {category: i for i, category in enumerate(feature.categories)}
        bins = np.array([known.get(str(value), len(known)) for value in present], dtype=np.int64)
    return np.bincount(bins, minlength=len(feature.counts) or _n_bins(feature))


def _n_bins(feature: FeatureProfile) -> int:
    return len(feature.edges) + 1 if feature.type == "number" else len(feature.categories) + 1


def _profile(values: pd.Series[Any], field: Field) -> FeatureProfile:
    present = values.dropna()
    base = FeatureProfile(
        name=field.name,
        type=field.type,
        edges=_edges(present.to_numpy(dtype=float)) if field.type == "number" else (),
        categories=field.categories or (),
        counts=(),
        missing=int(values.isna().sum()),
        mean=float(present.mean()) if field.type == "number" and len(present) else None,
        std=float(present.std(ddof=0)) if field.type == "number" and len(present) else None,
    )
    return base.model_copy(update={"counts": tuple(bin_counts(values, base).tolist())})


def _edges(present: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles, so that the bins hold about equally many rows; ties leave fewer bins."""
    bins = int(np.clip(len(present) // ROWS_A_BIN, 2, MOST_BINS))
    inner = np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1]) if len(present) else np.array([])
    return tuple(np.unique(inner).tolist())
