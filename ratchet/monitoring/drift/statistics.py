"""Two-sample drift statistics, computed from counts of rows in the same cells.

Every method gives an effect size, which does not grow with the number of rows, and the p-value of the hypothesis that
both samples come from one distribution. SciPy is imported inside the functions: commands that compute no drift import
this module too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# Rows in each cell, shape (cells,).
Cells = npt.NDArray[np.int64]

# Cells in which the smaller sample expects fewer rows are pooled: the chi-square distribution does not hold for them.
# Cochran 1954 asks for 5 as a rule, and for 1 at least; with 3 it holds down to a level of 0.002.
FEWEST_EXPECTED = 3.0
# Rows added to every cell if one is empty (Haldane 1956), so that the figure is finite.
_HALF_A_ROW = 0.5


class Result(NamedTuple):
    """An effect size or test statistic, and its p-value."""

    figure: float
    p_value: float


def psi(reference: Cells, current: Cells) -> float:
    """Return the population stability index of two histograms on the same cells.

    ``sum((p - q) * ln(p / q))`` over the cells' shares p and q, the symmetrised Kullback–Leibler divergence
    (Siddiqi, Credit Risk Scorecards, 2006). 0 for equal shares; 0.1 and 0.2 are the customary limits. Half a row is
    added to every cell if one is empty in either sample.
    """
    used = reference + current > 0
    p, q = reference[used].astype(np.float64), current[used].astype(np.float64)
    if not (p.all() and q.all()):
        p, q = p + _HALF_A_ROW, q + _HALF_A_ROW
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon(reference: Cells, current: Cells) -> float:
    """Return the Jensen–Shannon distance to base 2, from 0 to 1 (Endres & Schindelin 2003)."""
    from scipy.spatial.distance import jensenshannon

    with np.errstate(invalid="ignore"):  # rounding can make the divergence of almost equal shares negative
        return float(np.nan_to_num(jensenshannon(reference, current, base=2)))


def chi_square(reference: Cells, current: Cells) -> Result:
    """Return Pearson's chi-square statistic of the 2 × cells table, without continuity correction, and its p-value.

    Cells that are empty in both samples are left out.
    """
    from scipy.stats import chi2_contingency

    table = np.stack([reference, current])[:, reference + current > 0]
    result = chi2_contingency(table, correction=False)
    return Result(float(result.statistic), float(result.pvalue))


def kolmogorov_smirnov(reference: Cells, current: Cells) -> Result:
    """Return the two-sample Kolmogorov–Smirnov distance over cells in ascending order, and its asymptotic p-value.

    It equals ``scipy.stats.ks_2samp`` on the values if the cells separate the distinct values of the reference and
    the gaps between them: the distribution functions differ most at such a value or just below it. Ties make the
    p-value larger, and so the test conservative.
    """
    from scipy.stats import kstwo

    n, m = int(reference.sum()), int(current.sum())
    distance = float(np.max(np.abs(np.cumsum(reference) / n - np.cumsum(current) / m)))
    return Result(distance, float(kstwo.sf(distance, max(1.0, np.round(n * m / (n + m))))))


def measure(method: str, reference: Cells, current: Cells, *, ordered: bool) -> Result:
    """Compare two histograms with a method.

    The p-value of PSI and of Jensen–Shannon is Pearson's on the same cells. Times ``1 / (1/n + 1/m)``, PSI and 8 times
    the Jensen–Shannon divergence have the same chi-square distribution in the limit (Yurdakul & Naranjo 2020), but
    converge slowly: in windows of 50 rows they would pass a level of 0.05 twice as often as they may, and Pearson's
    does not (Read & Cressie 1988).

    Chi-square's figure is Cohen's w, the root of the statistic times ``1/n + 1/m``.

    Parameters
    ----------
    method: psi, ks, jensen_shannon or chi_square.
    reference, current: both with at least one row; cells ascending for ks.
    ordered: whether the cells have an order, as bins of numbers have.
    """
    if method == "ks":
        return kolmogorov_smirnov(reference, current)
    statistic, p_value = chi_square(*pooled(reference, current, ordered=ordered))
    if method == "psi":
        return Result(psi(reference, current), p_value)
    if method == "jensen_shannon":
        return Result(jensen_shannon(reference, current), p_value)
    return Result(float(np.sqrt(statistic * (1 / reference.sum() + 1 / current.sum()))), p_value)


def pooled(reference: Cells, current: Cells, *, ordered: bool) -> tuple[Cells, Cells]:
    """Pool cells until the smaller sample expects ``FEWEST_EXPECTED`` rows in each: neighbours, or the rarest cells.

    The expectation follows from both samples together, so that the choice of the cells favours neither outcome.
    """
    both = reference + current
    order = np.arange(len(both)) if ordered else np.argsort(both, kind="stable")
    smaller = min(reference.sum(), current.sum()) / both.sum()
    starts, expected = [0], 0.0
    for at, rows in enumerate(both[order]):
        if expected >= FEWEST_EXPECTED:
            starts.append(at)
            expected = 0.0
        expected += rows * smaller
    if expected < FEWEST_EXPECTED and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(reference[order], starts), np.add.reduceat(current[order], starts)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values: the least false discovery rate at which each hypothesis would be rejected.

    Benjamini & Hochberg 1995; it holds for columns that depend on each other positively (Benjamini & Yekutieli 2001).
    """
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values)]
