"""The reference profile: histograms of the training rows and of the model's output, stored with the model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class FeatureProfile(BaseModel):
    """One column's histogram.

    Attributes
    ----------
    type: a text is profiled by its number of words; a time is not profiled at all, since it never comes again.
    edges: for a number, the inner bin edges, ascending; bins are half-open to the right, the outer two unbounded.
    categories: for a category, the known values; one more bin counts all others.
    counts: rows a bin, missing values left out.
    missing: rows without a value.
    points: for a number, its distinct values, or so many evenly spaced quantiles where it has more of them.
    point_counts: rows below the first point, at it, between it and the next, …; shape (2 * points + 1,).
    resolution: for a computed number, the step to which it is rounded before it is counted; 0 does not round.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: Literal["number", "category", "text"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...]
    missing: int
    mean: float | None = None
    std: float | None = None
    points: tuple[float, ...] = ()
    point_counts: tuple[int, ...] = ()
    resolution: float = 0.0

    @property
    def ordered(self) -> bool:
        """Whether its bins are of numbers, which have neighbours."""
        return self.type != "category"


class Profile(BaseModel):
    """A set of rows, and what a model makes of them.

    Attributes
    ----------
    features: the inputs.
    embedded: the columns of the embedder's output; empty in packages that were made before it was profiled.
    predictions: the predicted label or number, as one column; empty in such packages too.
    """

    model_config = ConfigDict(frozen=True)

    n_rows: int
    features: tuple[FeatureProfile, ...]
    embedded: tuple[FeatureProfile, ...] = ()
    predictions: tuple[FeatureProfile, ...] = ()
