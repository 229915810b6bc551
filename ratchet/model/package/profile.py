"""The reference profile: histograms of the training rows and of the model's output, stored with the model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class FeatureProfile(BaseModel):
    """Histogram of one column.

    Attributes
    ----------
    type: a text is profiled by its number of words; a time has no profile.
    edges: of a number, the inner bin edges, ascending; bins are half-open to the right, the outer two unbounded.
    categories: of a category, the known values; one more bin counts all others.
    counts: rows of each bin, without missing values.
    missing: rows without a value.
    points: of a number, its distinct values, or evenly spaced quantiles if it has too many.
    point_counts: rows below the first point, at it, between it and the next, …; shape (2 * points + 1,).
    resolution: of a computed number, the step to which it is rounded before counting; 0 does not round.
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
        """Whether the bins are ranges of numbers."""
        return self.type != "category"


class Profile(BaseModel):
    """Profile of some rows, and of a model's output for them.

    Attributes
    ----------
    features: the inputs.
    embedded: the columns of the embedder's output; empty in old packages.
    predictions: the predicted label or number, as one column; empty in old packages.
    """

    model_config = ConfigDict(frozen=True)

    n_rows: int
    features: tuple[FeatureProfile, ...]
    embedded: tuple[FeatureProfile, ...] = ()
    predictions: tuple[FeatureProfile, ...] = ()
