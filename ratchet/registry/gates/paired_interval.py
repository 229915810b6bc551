"""The bootstrap interval of how much better one model is than another on the same rows."""

from __future__ import annotations

import math

import numpy as np

from ratchet.config import LOSSES
from ratchet.model import metrics
from ratchet.model.bootstrap import replicates

# Resamples in each tail from which a percentile is read; the tail beyond it is extrapolated.
_TAIL = 10
# Up to 4 rows are never significant at a level below 0.03; fewer degrees of freedom only make the ends absurd.
_LEAST_FREEDOM = 4


def paired_interval(
    name: str,
    mine: metrics.Scores,
    theirs: metrics.Scores,
    level: float,
    n_resamples: int,
    seed: int,
    block: int = 1,
    limit: float = 0.0,
) -> tuple[float, float]:
    """Return the bootstrap interval of how much better one model is than another on the same rows.

    Each resample draws rows, and both models are scored on the same draw, so that the difficulty of a row cancels out
    (Efron & Tibshirani 1993, chapter 13; Koehn 2004 for the paired form).

    A level of 0.0001 needs far more resamples than there are for its percentile. So each end is the difference on all
    rows, less (plus) a quantile of Student's t times a spread. The spread is the standard deviation of the resampled
    differences, or that of a normal distribution with the outermost percentile that the resamples resolve, whichever is
    larger: a skewed tail widens the interval. The degrees of freedom are one less than the number of rows; where the
    question is whether the difference is above 0, than the number of rows on which the models differ, since the other
    rows say nothing about it. With 5 such rows, all of them better, a percentile interval is
    above 0 at a level of 0.007, while the sign test has 0.031.

    Parameters
    ----------
    level: the probability of each tail, in (0, 0.5).
    block: rows that are drawn together, as for ``ratchet.model.bootstrap.resamples``.
    limit: the value that the interval is to be above.

    Returns
    -------
    The ends of the interval, in the metric's unit; positive is better, for a loss too. NaN if the metric is not
    defined.
    """
    from scipy.special import ndtri, stdtrit

    sign = -1.0 if name in LOSSES else 1.0
    drawn = replicates(name, [mine, theirs], n_resamples, seed, block)
    differences = sign * (drawn[0] - drawn[1])
    differences = differences[~np.isnan(differences)]
    difference = sign * (metrics.point(name, mine) - metrics.point(name, theirs))
    if not len(differences) or math.isnan(difference):
        return float("nan"), float("nan")
    resolved = min(max(level, _TAIL / len(differences)), 0.25)
    percentiles = np.quantile(differences, [resolved, 1 - resolved])
    spreads = np.maximum(np.abs(percentiles - difference) / -ndtri(resolved), differences.std())
    informative = metrics.n_different(name, mine, theirs) if limit == 0 else len(mine)
    freedom = max(_LEAST_FREEDOM, math.ceil(informative / block) - 1)
    below, above = -stdtrit(freedom, level) * spreads
    return float(difference - below), float(difference + above)
