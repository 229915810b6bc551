"""What a challenger has to show before it may enter Production."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet import metrics
from ratchet.config import LOSSES, Evaluate
from ratchet.datasets import row_hashes
from ratchet.datasets.schema import Schema
from ratchet.evaluation import Evaluation, score_rows
from ratchet.packaging import Package

# On fewer rows than this a comparison says nothing.
FEWEST_ROWS = 10


class Check(BaseModel):
    """One figure beside its limit.

    Attributes
    ----------
    name: what was checked.
    figure: what was found, None where it could not be.
    limit: what was asked for.
    passed: the verdict.
    reason: the verdict in words.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    figure: float | None
    limit: float | None
    passed: bool
    reason: str


def floor_check(evaluation: Evaluation, config: Evaluate) -> Check:
    """The primary metric against the absolute floor (or ceiling, for a loss) of the config."""
    limit = config.maximum if config.primary_metric in LOSSES else config.minimum
    figure = evaluation.primary
    if limit is None:
        return Check(name="floor", figure=figure, limit=None, passed=True, reason="the config sets no floor")
    passed = not _better(limit, figure, config.primary_metric)
    side = "at most" if config.primary_metric in LOSSES else "at least"
    reason = f"{config.primary_metric} {figure:.4f}, needed {side} {limit:g}"
    return Check(name="floor", figure=figure, limit=limit, passed=passed, reason=reason)


def comparison_check(challenger: Package, champion: Package | None, holdout: pd.DataFrame, metric: str) -> Check:
    """Challenger and champion on the same held-out rows that neither was fitted on; a tie goes to the champion.

    Parameters
    ----------
    challenger: the package that wants in.
    champion: the package in Production; None where there is none.
    holdout: typed rows, features and target.
    metric: the primary metric.
    """
    if champion is None:
        return Check(name="beats_champion", figure=None, limit=None, passed=True, reason="there is no champion yet")
    unseen = unseen_rows(holdout, challenger, champion)
    if len(unseen) < FEWEST_ROWS:
        reason = (
            f"{len(unseen)} of {len(holdout)} held-out rows are new to both models, {FEWEST_ROWS} are needed;"
            " train with the champion's seed and split, or bring new data"
        )
        return Check(name="beats_champion", figure=None, limit=None, passed=False, reason=reason)
    figure = _figure(challenger.model, unseen, challenger.schema, metric)
    limit = _figure(champion.model, unseen, challenger.schema, metric)
    reason = f"{metric} {figure:.4f} against the champion's {limit:.4f} on {len(unseen)} rows new to both"
    return Check(
        name="beats_champion", figure=figure, limit=limit, passed=_better(figure, limit, metric), reason=reason
    )


def unseen_rows(holdout: pd.DataFrame, *packages: Package) -> pd.DataFrame:
    """The held-out rows that no package was fitted on, told by the hashes of its training rows."""
    hashes = row_hashes(holdout)
    seen = np.zeros(len(holdout), dtype=bool)
    for package in packages:
        seen |= np.isin(hashes, package.training_rows)
    return holdout[~seen]


def _figure(model: Any, rows: pd.DataFrame, schema: Schema, metric: str) -> float:
    return metrics.point(metric, score_rows(model, rows, schema))


def _better(a: float, b: float, metric: str) -> bool:
    return a < b if metric in LOSSES else a > b
