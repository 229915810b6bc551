"""The drift verdict on each column of a group: its effect against the threshold, its p-value against the level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from ratchet.config import Drift
from ratchet.config.continuous import SMALLEST_WINDOW
from ratchet.model.package.histogram import ColumnCounts, Counts
from ratchet.model.package.profile import FeatureProfile
from ratchet.monitoring.drift.statistics import Result, benjamini_hochberg, measure

# Fewer rows than this are not compared.
FEWEST_ROWS = SMALLEST_WINDOW


class ColumnDrift(BaseModel):
    """The verdict on one column.

    Attributes
    ----------
    figure: the effect size, in the method's unit.
    threshold: the limit of the figure; None if significance alone decides.
    p_value: adjusted by Benjamini–Hochberg over the columns of the group.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    method: str
    figure: float
    threshold: float | None
    p_value: float
    drifted: bool


def reaches(figure: float, limit: float | None) -> bool:
    """Return whether a drift figure is at its limit or above it, as Evidently decides too; None is no limit."""
    return limit is None or figure >= limit


def column_verdicts(
    counts: Counts | None, features: Sequence[FeatureProfile], config: Drift, level: float
) -> tuple[ColumnDrift, ...]:
    """Return the verdict on each column that both sides have; none for fewer than ``FEWEST_ROWS`` rows.

    ``counts`` is None if the group was left out; ``level`` is the limit of a p-value.
    """
    if counts is None or counts.n_rows < FEWEST_ROWS:
        return ()
    shared = [f for f in features if f.name in counts.columns and sum(f.counts) + f.missing > 0]
    methods = ["chi_square" if config.method == "ks" and not f.ordered else config.method for f in shared]
    results = [_measure(f, counts.columns[f.name], method) for f, method in zip(shared, methods, strict=True)]
    adjusted = benjamini_hochberg([result.p_value for result in results])
    return tuple(
        ColumnDrift(
            name=feature.name,
            method=method,
            figure=result.figure,
            threshold=config.threshold_of(method),
            p_value=p_value,
            drifted=p_value <= level and reaches(result.figure, config.threshold_of(method)),
        )
        for feature, method, result, p_value in zip(shared, methods, results, adjusted, strict=True)
    )


def _measure(feature: FeatureProfile, column: ColumnCounts, method: str) -> Result:
    # A missing value is a cell of its own below all numbers, so that a column with new gaps drifts.
    cells = feature.point_counts if method == "ks" and feature.points else feature.counts
    reference, current = np.array([feature.missing, *cells]), np.array([column.missing, *column.cells])
    return measure(method, reference, current, ordered=feature.ordered)
