"""The level of each of many challengers on one holdout, so that the probability of any false promotion is bounded."""

from __future__ import annotations

import math


def level_of(number: int, total: float) -> float:
    """Return the level of the challenger with a number among all that were tried on a holdout.

    Alpha spending for an unlimited sequence of tests: the k-th test has the level ``total`` · 6 / (π² k²). These levels
    add up to ``total``, so by Bonferroni's inequality the probability that any of the challengers passes without being
    better is at most ``total``, however many are tried and however they depend on each other (J. Tian and A. Ramdas,
    "Online control of the familywise error rate", Statistical Methods in Medical Research 30(4), 2021, section 2;
    D. Foster and R. Stine, "α-investing", 2008).

    Parameters
    ----------
    number: 1 for the first challenger.
    total: the level over the whole history.
    """
    return total * 6 / (math.pi * number) ** 2
