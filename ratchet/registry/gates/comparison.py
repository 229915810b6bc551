"""Comparison of two models on the same rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import LOSSES
from ratchet.data import row_hashes
from ratchet.data.schema import Schema
from ratchet.model import metrics
from ratchet.model.evaluation import resamples, score_rows
from ratchet.model.package.sealed_package import Package

# Two models are not compared on fewer rows.
FEWEST_ROWS = 10


def unseen_rows(holdout: pd.DataFrame, *packages: Package) -> pd.DataFrame:
    """Return the held-out rows that none of the packages was fitted on.

    A package carries the hashes of its training rows, so that a row is recognised across runs, seeds and data
    versions, as long as the columns are the same; ``AgainstChampion`` refuses to compare models of other columns.
    """
    hashes = row_hashes(holdout)
    seen = np.zeros(len(holdout), dtype=bool)
    for package in packages:
        seen |= np.isin(hashes, package.training_rows)
    return holdout[~seen]


def both_scores(challenger: Package, champion: Package, rows: pd.DataFrame) -> tuple[metrics.Scores, metrics.Scores]:
    """Return the challenger's and the champion's scores on the same rows.

    Both are scored by the labels, positive class and costs of the challenger's schema, in case the config changed.
    """
    ours = challenger.schema
    update = {"labels": ours.labels, "target": ours.target, "positive": ours.positive, "costs": ours.costs}
    theirs = champion.schema.model_copy(update=update)
    return score_rows(challenger.model, rows, ours), score_rows(champion.model, rows, theirs)


def paired_interval(
    name: str,
    mine: metrics.Scores,
    theirs: metrics.Scores,
    confidence: float,
    n_resamples: int,
    seed: int,
    block: int = 1,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of how much better one model is than another on the same rows.

    Each resample draws rows, and both models are scored on the same draw, so that the difficulty of a row cancels out
    (Efron & Tibshirani 1993, chapter 13; Koehn 2004 for the paired form).

    Parameters
    ----------
    confidence: such as 0.95, two-sided.
    block: rows that are drawn together, as for ``ratchet.model.evaluation.resamples``.

    Returns
    -------
    The ends of the interval, in the metric's unit; positive is better, for a loss too. NaN if the metric is defined on
    no resample.
    """
    sign = -1.0 if name in LOSSES else 1.0
    differences: npt.NDArray[np.float64] = np.concatenate(
        [
            sign * (metrics.score(name, mine, weights) - metrics.score(name, theirs, weights))
            for weights in resamples(len(mine), n_resamples, seed, block)
        ]
    )
    if np.isnan(differences).all():
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(differences, [tail, 1 - tail])
    return float(low), float(high)


def columns_of(schema: Schema) -> set[tuple[str, str]]:
    """Return the columns of a model's rows with their types, including the target."""
    return {(field.name, field.type) for field in schema.features} | {(schema.target, "target")}
