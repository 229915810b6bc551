"""The verdict on each column of a group: its effect against the threshold, and its p-value against the level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from ratchet.config import Drift
from ratchet.model.package.histogram import ColumnCounts, Counts
from ratchet.model.package.profile import FeatureProfile
from ratchet.monitoring.drift.statistics import Result, benjamini_hochberg, measure

# On fewer rows than this a comparison says nothing.
FEWEST_ROWS = 10


class ColumnDrift(BaseModel):
    """The verdict on one column.

    Attributes
    ----------
    figure: the effect, in the method's unit.
    threshold: what the figure has to pass; None where significance alone decides.
    p_value: after Benjamini–Hochberg over the columns of its group.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    method: str
    figure: float
    threshold: float | None
    p_value: float
    drifted: bool


def judge(
    counts: Counts | None, features: Sequence[FeatureProfile], config: Drift, level: float
) -> tuple[ColumnDrift, ...]:
    """The verdict on each column of a group that both have; none on too few rows.

    Parameters
    ----------
    counts: the new rows; None where the group was left out.
    features: the group's columns in the reference.
    config: the ``drift`` section.
    level: what a p-value has to keep.
    """
    if counts is None or counts.n_rows < FEWEST_ROWS:
        return ()
    shared = [f for f in features if f.name in counts.columns and sum(f.counts) + f.missing > 0]
    methods = ["chi_square" if config.method == "ks" and not f.ordered else config.method for f in shared]
    results = [_measure(f, counts.columns[f.name], method) for f, method in zip(shared, methods, strict=True)]
    adjusted = benjamini_hochberg([result.p_value for result in results])
    return tuple(
        _verdict(f.name, method, result.figure, config.threshold_of(method), p_value, level)
        for f, method, result, p_value in zip(shared, methods, results, adjusted, strict=True)
    )


def _measure(feature: FeatureProfile, column: ColumnCounts, method: str) -> Result:
    """A missing value is a cell of its own, below all numbers: a column that begins to have gaps has drifted."""
    cells = feature.point_counts if method == "ks" and feature.points else feature.counts
    reference, current = np.array([feature.missing, *cells]), np.array([column.missing, *column.cells])
    return measure(method, reference, current, ordered=feature.ordered)


def _verdict(
    name: str, method: str, figure: float, threshold: float | None, p_value: float, level: float
) -> ColumnDrift:
    drifted = p_value <= level and (threshold is None or figure > threshold)
    return ColumnDrift(name=name, method=method, figure=figure, threshold=threshold, p_value=p_value, drifted=drifted)
