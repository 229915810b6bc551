"""Two models on the same rows: which rows, what both say of them, and by how much one is better."""

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
from ratchet.registry.gates.contract import Trial

# On fewer rows than this a comparison says nothing.
FEWEST_ROWS = 10


def unseen_rows(holdout: pd.DataFrame, *packages: Package) -> pd.DataFrame:
    """The held-out rows that no package was fitted on.

    A package carries the hashes of its training rows, so this holds across runs, seeds and versions of the data: a
    row that a model was fitted on is recognised wherever it turns up, and left out, as long as the columns are the
    same; where they are not, ``AgainstChampion`` refuses to compare.
    """
    hashes = row_hashes(holdout)
    seen = np.zeros(len(holdout), dtype=bool)
    for package in packages:
        seen |= np.isin(hashes, package.training_rows)
    return holdout[~seen]


def both_scores(trial: Trial, champion: Package, rows: pd.DataFrame) -> tuple[metrics.Scores, metrics.Scores]:
    """The challenger's and the champion's predictions on the same rows, beside the truth."""
    schema = trial.challenger.schema
    mine = score_rows(trial.challenger.model, rows, schema)
    return mine, score_rows(champion.model, rows, _judged_as(champion.schema, schema))


def paired_interval(
    name: str,
    mine: metrics.Scores,
    theirs: metrics.Scores,
    confidence: float,
    n_resamples: int,
    seed: int,
    block: int = 1,
) -> tuple[float, float]:
    """The percentile bootstrap interval of how much better one model is than another on the same rows.

    Each resample draws rows, and both models are scored on the same draw, so that what makes a row hard for both
    cancels out (Efron & Tibshirani 1993, chapter 13; Koehn 2004 for the paired form).

    Parameters
    ----------
    name: the metric.
    mine, theirs: predictions of both models beside the truth, on the same rows.
    confidence: such as 0.95, two-sided.
    n_resamples, seed: of the bootstrap.
    block: rows that are drawn together, as for ``ratchet.model.evaluation.resamples``.

    Returns
    -------
    The ends of the interval, in the metric's unit; positive is better, for a loss too. NaN where the metric is
    defined on no resample.
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
    """The columns of a model's rows with their types, the target among them."""
    return {(field.name, field.type) for field in schema.features} | {(schema.target, "target")}


def _judged_as(schema: Schema, other: Schema) -> Schema:
    """A schema whose rows are measured by another's yardstick, also where the config's costs have changed since."""
    asked = {"labels": other.labels, "target": other.target, "positive": other.positive, "costs": other.costs}
    return schema.model_copy(update=asked)
