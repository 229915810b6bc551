"""How far apart two samples are, and how often chance alone would put them so far: all from counts on the same cells.

Every test answers with a figure, which does not grow with the number of rows (an effect size), and with the p-value
of the two-sample hypothesis that both were drawn from one distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.int64]

# Cells in which the smaller sample expects fewer rows are put together, since the chi-square distribution does not
# hold for them (Cochran 1954 asks for 5 as a rule, and for 1 at the least; with 3 it holds down to a level of 0.002).
FEWEST_EXPECTED = 3.0
# Added to every cell where one is empty (Haldane 1956), so that the figure is large and not infinite.
_HALF_A_ROW = 0.5


class Result(NamedTuple):
    """A test's figure, and the p-value beside it."""

    figure: float
    p_value: float


def psi(reference: Cells, current: Cells) -> float:
    """The population stability index of two histograms on the same cells.

    ``sum((p - q) * ln(p / q))`` over the cells' shares p and q, the symmetrised Kullback–Leibler divergence
    (Siddiqi, Credit Risk Scorecards, 2006). 0 for equal shares; 0.1 and 0.2 are the customary limits. Half a row is
    added to every cell if one is empty in either.

    Parameters
    ----------
    reference, current: rows a cell, shape (cells,).
    """
    p, q = _shares(reference, current)
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon(reference: Cells, current: Cells) -> float:
    """The Jensen–Shannon distance to base 2, from 0 to 1 (Endres & Schindelin 2003).

    Parameters
    ----------
    reference, current: rows a cell, shape (cells,).
    """
    from scipy.special import rel_entr

    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    divergence = float(np.sum(rel_entr(p, middle) + rel_entr(q, middle))) / 2
    return float(np.sqrt(max(divergence, 0.0) / np.log(2)))


def chi_square(reference: Cells, current: Cells) -> Result:
    """Pearson's chi-square statistic of the 2 × cells table, without continuity correction, and its p-value.

    Cells that are empty in both are left out.

    Parameters
    ----------
    reference, current: rows a cell, shape (cells,).
    """
    from scipy.special import chdtrc

    table = np.stack([reference, current])[:, reference + current > 0].astype(np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    freedom = table.shape[1] - 1
    return Result(statistic, float(chdtrc(freedom, statistic)) if freedom else 1.0)


def kolmogorov_smirnov(reference: Cells, current: Cells) -> Result:
    """The two-sample Kolmogorov–Smirnov distance over cells in ascending order, and its asymptotic p-value.

    Equal to the test on the values themselves if the cells hold apart each distinct value of the reference and the
    gaps between them: the distribution functions are furthest apart at such a value or just below it. Ties make the
    p-value larger, and so the test cautious.

    Parameters
    ----------
    reference, current: rows a cell, shape (cells,).
    """
    from scipy.stats import kstwo

    n, m = int(reference.sum()), int(current.sum())
    distance = float(np.max(np.abs(np.cumsum(reference) / n - np.cumsum(current) / m)))
    return Result(distance, float(kstwo.sf(distance, max(1.0, np.round(n * m / (n + m))))))


def measure(method: str, reference: Cells, current: Cells, *, ordered: bool) -> Result:
    """Measure two histograms with a method.

    The p-value of PSI and of Jensen–Shannon is Pearson's on the same cells. Times ``1 / (1/n + 1/m)``, PSI and 8 times
    the Jensen–Shannon divergence have the same chi-square distribution in the limit (Yurdakul & Naranjo 2020), but
    come to it late: in windows of 50 rows they would pass a level of 0.05 twice as often as they may, and Pearson's
    does not (Read & Cressie 1988).

    Chi-square's figure is Cohen's w, the root of the statistic times ``1/n + 1/m``.

    Parameters
    ----------
    method: psi, ks, jensen_shannon or chi_square.
    reference, current: rows a cell, shape (cells,), neither without rows; ascending for ks.
    ordered: whether the cells have neighbours.
    """
    if method == "ks":
        return kolmogorov_smirnov(reference, current)
    statistic, p_value = chi_square(*pooled(reference, current, ordered=ordered))
    if method == "psi":
        return Result(psi(reference, current), p_value)
    if method == "jensen_shannon":
        return Result(jensen_shannon(reference, current), p_value)
    return Result(float(np.sqrt(statistic * (1 / reference.sum() + 1 / current.sum()))), p_value)


def pooled(reference: Cells, current: Cells, *, ordered: bool, fewest: float = FEWEST_EXPECTED) -> tuple[Cells, Cells]:
    """Put neighbouring cells together until the smaller sample expects enough rows in each.

    What is expected follows from both samples together, so that the choice of the cells favours neither outcome.

    Parameters
    ----------
    reference, current: rows a cell, shape (cells,).
    ordered: whether the cells have neighbours; if not, the rarest go together.
    fewest: rows expected.
    """
    both = reference + current
    order = np.arange(len(both)) if ordered else np.argsort(both, kind="stable")
    smaller = min(reference.sum(), current.sum()) / both.sum()
    starts, expected = [0], 0.0
    for at, rows in enumerate(both[order]):
        if expected >= fewest:
            starts.append(at)
            expected = 0.0
        expected += rows * smaller
    if expected < fewest and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(reference[order], starts), np.add.reduceat(current[order], starts)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: the least false discovery rate at which each hypothesis would be rejected.

    Benjamini & Hochberg 1995; it holds for columns that depend on each other positively (Benjamini & Yekutieli 2001).
    """
    if not p_values:
        return []
    ordered = np.argsort(p_values)[::-1]
    ranks = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum.accumulate(np.asarray(p_values)[ordered] * len(p_values) / ranks)
    result = np.empty(len(p_values))
    result[ordered] = np.minimum(adjusted, 1.0)
    return [float(p) for p in result]


def _shares(reference: Cells, current: Cells) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    used = reference + current > 0
    p, q = reference[used].astype(np.float64), current[used].astype(np.float64)
    if not (p.all() and q.all()):
        p, q = p + _HALF_A_ROW, q + _HALF_A_ROW
    return p / p.sum(), q / q.sum()
