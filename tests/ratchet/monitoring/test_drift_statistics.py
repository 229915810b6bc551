"""The figures equal known values, SciPy's on the raw samples, and Evidently's."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ratchet.data.schema import Field, Schema
from ratchet.model.package.histogram import count_categories, count_numbers, point_cuts
from ratchet.model.package.profile import FeatureProfile
from ratchet.model.package.profiling import MOST_POINTS, profile_rows
from ratchet.monitoring.drift.statistics import (
    benjamini_hochberg,
    chi_square,
    jensen_shannon,
    kolmogorov_smirnov,
    measure,
    pooled,
    psi,
)

EXACT = pytest.approx
CELLS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=12)


def profiled(values: npt.NDArray[np.float64]) -> FeatureProfile:
    schema = Schema(features=(Field(name="x", type="number", nullable=True),), target="y")
    return profile_rows(pd.DataFrame({"x": values}), schema).features[0]


def ks_of_counts(reference: npt.NDArray[np.float64], current: npt.NDArray[np.float64]) -> tuple[float, float]:
    feature = profiled(reference)
    counts = count_numbers(current, point_cuts(feature.points))
    return kolmogorov_smirnov(
        np.array([feature.missing, *feature.point_counts]), np.array([counts.missing, *counts.cells])
    )


@pytest.mark.parametrize("decimals", [0, 1, 2])
@pytest.mark.parametrize("shift", [0, 0.1, 3])
def test_ks_of_counts_equals_scipys_up_to_512_distinct_values(decimals: int, shift: float) -> None:
    generator = np.random.default_rng(3)
    reference, current = generator.normal(size=500).round(decimals), generator.normal(shift, 1.3, 700)
    expected = scipy.stats.ks_2samp(reference, current, method="asymp")
    assert ks_of_counts(reference, current) == EXACT((expected.statistic, expected.pvalue), abs=1e-12)


@settings(max_examples=100)
@given(*[st.lists(st.integers(-4, 4).map(float), min_size=5, max_size=60)] * 2)
def test_ks_of_counts_equals_scipys_with_ties(reference: list[float], current: list[float]) -> None:
    one, other = np.array(reference), np.array(current)
    assert ks_of_counts(one, other)[0] == EXACT(scipy.stats.ks_2samp(one, other, method="asymp").statistic, abs=1e-12)


def test_ks_of_many_distinct_values_differs_by_less_than_the_bound() -> None:
    generator = np.random.default_rng(4)
    for shift in (0, 0.02, 0.5):
        reference, current = generator.normal(size=20_000), generator.normal(shift, size=5000)
        expected = scipy.stats.ks_2samp(reference, current, method="asymp").statistic
        assert 0 <= expected - ks_of_counts(reference, current)[0] < 1 / (MOST_POINTS - 1)


def test_a_missing_value_counts_as_a_value_below_all_others() -> None:
    generator = np.random.default_rng(5)
    reference, current = generator.normal(size=400), generator.normal(size=300)
    reference[:40], current[:90] = np.nan, np.nan
    lowest = [np.nan_to_num(values, nan=-1e9) for values in (reference, current)]
    assert ks_of_counts(reference, current)[0] == EXACT(scipy.stats.ks_2samp(*lowest, method="asymp").statistic)


# Rows in each cell of two samples; Jensen–Shannon distance, chi-square and Kolmogorov–Smirnov with their p-values.
KNOWN = [
    ([10, 20, 30], [30, 20, 10], 0.35470351519813204, (20.0, 4.539992976248486e-05), (1 / 3, 0.0017905922882459624)),
    (
        [5, 0, 7, 1],
        [0, 3, 9, 2],
        0.5568012351714462,
        (8.558035714285715, 0.03578247995175661),
        (0.38461538461538464, 0.1925859252464186),
    ),
    (
        [120, 80, 44, 3, 0],
        [118, 86, 40, 9, 0],
        0.07104190942153031,
        (3.352633162220143, 0.34038401379047833),
        (0.02342737354179003, 0.9999992550178538),
    ),
    ([50], [70], 0.0, (0.0, 1.0), (0.0, 1.0)),
]


@pytest.mark.parametrize(("reference", "current", "distance", "pearson", "smirnov"), KNOWN)
def test_statistics_of_known_tables(
    reference: list[int],
    current: list[int],
    distance: float,
    pearson: tuple[float, float],
    smirnov: tuple[float, float],
) -> None:
    cells = np.array(reference), np.array(current)
    assert jensen_shannon(*cells) == EXACT(distance, abs=1e-12)
    assert chi_square(*cells) == EXACT(pearson, abs=1e-12)
    assert kolmogorov_smirnov(*cells) == EXACT(smirnov, abs=1e-12)


def test_adjusted_p_values_of_a_known_case() -> None:
    adjusted = [0.035, 0.056, 0.056, 7 / 12, 0.0, 1.0, 0.056]
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5, 0.0, 1.0, 0.04]) == EXACT(adjusted, abs=1e-12)
    assert benjamini_hochberg([]) == []


def test_jensen_shannon_of_almost_equal_large_samples_is_a_number() -> None:
    rows = np.array([51618242, 39990741, 64526677, 14523165, 75770000, 61167457])
    assert jensen_shannon(rows, rows + np.array([0, 1, 1, 0, 1, 0])) == EXACT(0.0, abs=1e-7)


EVIDENTLY = """
import json, sys
import numpy as np, pandas as pd
from evidently.legacy.calculations.stattests import psi_stat_test
from evidently.legacy.core import ColumnType
generator = np.random.default_rng(6)
answers = []
for shift in (0.0, 0.4):
    one, other = generator.normal(size=50_000).clip(-2, 2), generator.normal(shift, size=30_000).clip(-2, 2)
    edges = np.histogram_bin_edges(np.concatenate([one, other]), bins="sturges")
    figure = psi_stat_test.func(pd.Series(one), pd.Series(other), ColumnType.Numerical, 0.2)[0]
    answers.append([one.tolist(), other.tolist(), edges[1:-1].tolist(), figure])
one, other = generator.choice(list("abc"), 500, p=[0.5, 0.3, 0.2]), generator.choice(list("abc"), 200)
figure = psi_stat_test.func(pd.Series(one), pd.Series(other), ColumnType.Categorical, 0.2)[0]
answers.append([one.tolist(), other.tolist(), None, figure])
json.dump(answers, sys.stdout)
"""


@pytest.mark.slow  # importing Evidently takes seconds
def test_psi_equals_evidentlys_on_the_same_bins() -> None:
    pytest.importorskip("evidently")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", EVIDENTLY], capture_output=True, text=True, check=True)
    for one, other, edges, expected in json.loads(done.stdout):
        if edges:
            reference, current = (count_numbers(np.array(values), np.array(edges)).cells for values in (one, other))
        else:
            reference, current = (count_categories(pd.Series(values), ["a", "b", "c"]).cells for values in (one, other))
        assert psi(np.array(reference), np.array(current)) == EXACT(expected, abs=1e-6)


def test_psi_follows_its_formula() -> None:
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    expected = float(np.sum((p - q) * np.log(p / q)))
    assert psi((p * 10).astype(int), (q * 10).astype(int)) == EXACT(expected)


def test_psi_is_zero_for_equal_shares_and_symmetric() -> None:
    one, other = np.array([10, 20, 30]), np.array([30, 20, 10])
    assert psi(one, one) == 0
    assert psi(one, other) == EXACT(psi(other, one))


def test_an_empty_bin_gives_a_finite_figure() -> None:
    assert 1 < psi(np.array([100, 0]), np.array([0, 100])) < np.inf


@given(CELLS, st.booleans())
def test_pooled_cells_expect_enough_rows_and_lose_none(cells: list[tuple[int, int]], ordered: bool) -> None:
    reference, current = np.array(cells).T
    if min(reference.sum(), current.sum()) == 0:
        return
    one, other = pooled(reference, current, ordered=ordered)
    assert (one.sum(), other.sum()) == (reference.sum(), current.sum())
    expected = (one + other) * min(one.sum(), other.sum()) / (one + other).sum()
    assert len(one) == 1 or expected.min() >= 3 - 1e-9


def test_cohens_w_does_not_grow_with_the_rows() -> None:
    reference, current = np.array([50, 50]), np.array([60, 40])
    once = measure("chi_square", reference, current, ordered=True)
    often = measure("chi_square", reference * 100, current * 100, ordered=True)
    assert once.figure == EXACT(often.figure) == EXACT(0.2, abs=0.01)
    assert once.p_value > 0.1 > often.p_value
