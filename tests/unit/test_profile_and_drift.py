from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Drift
from ratchet.drift import compare, psi
from ratchet.profile import Profile, bin_counts, profile_rows
from tests.unit.conftest import Trained


def test_a_profile_counts_every_row_once(mixed: Trained) -> None:
    profile = profile_rows(mixed.train, mixed.schema)
    for feature in profile.features:
        assert sum(feature.counts) + feature.missing == profile.n_rows == len(mixed.train)
    age, plan = profile.features
    assert plan.categories == ("basic", "plus", "pro")
    assert age.mean == pytest.approx(mixed.train["age"].mean())


def test_a_profile_survives_json(iris: Trained) -> None:
    profile = profile_rows(iris.train, iris.schema)
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


def test_bins_hold_about_equally_many_rows(iris: Trained) -> None:
    counts = np.array(profile_rows(iris.train, iris.schema).features[0].counts)
    assert len(counts) == 6, "120 rows, 20 a bin"
    assert counts.min() >= 10


def test_values_outside_the_range_and_unknown_categories_have_a_bin(mixed: Trained) -> None:
    age, plan = profile_rows(mixed.train, mixed.schema).features
    assert bin_counts(pd.Series([-1e9, 1e9]), age)[[0, -1]].tolist() == [1, 1]
    assert bin_counts(pd.Series(["gold", None, "pro"]), plan).tolist() == [0, 0, 1, 1]


def test_psi_is_zero_for_equal_shares_and_symmetric() -> None:
    one, other = np.array([10, 20, 30]), np.array([30, 20, 10])
    assert psi(one, one) == 0
    assert psi(one, other) == pytest.approx(psi(other, one))


def test_psi_follows_its_formula() -> None:
    # Large counts, so that the half row added to each bin does not show.
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    expected = float(np.sum((p - q) * np.log(p / q)))
    assert psi((p * 10**9).astype(int), (q * 10**9).astype(int)) == pytest.approx(expected, abs=1e-8)


def test_an_empty_bin_gives_a_finite_figure() -> None:
    assert 1 < psi(np.array([100, 0]), np.array([0, 100])) < np.inf


def test_without_a_champion_there_is_no_reference_yet(iris: Trained) -> None:
    report = compare(iris.train, None, Drift(), None)
    assert report.summary == "no reference yet"
    assert not report.detected


def test_the_same_rows_have_not_drifted(iris: Trained) -> None:
    report = compare(iris.train, profile_rows(iris.train, iris.schema), Drift(), "3")
    assert report.summary == "no drift against version 3: 0 of 4 features over the limit"


def test_shifted_rows_have_drifted_in_the_features_that_shifted(iris: Trained) -> None:
    shifted = iris.train.assign(sepal_length=iris.train["sepal_length"] + 2, petal_width=iris.train["petal_width"] + 2)
    report = compare(shifted, profile_rows(iris.train, iris.schema), Drift(share=0.5), "1")
    assert report.drifted == ("sepal_length", "petal_width")
    assert report.share == 0.5
    assert report.detected


def test_a_feature_that_is_gone_is_left_out(iris: Trained) -> None:
    report = compare(iris.train.drop(columns="sepal_width"), profile_rows(iris.train, iris.schema), Drift(), "1")
    assert len(report.figures) == 3


def test_a_feature_that_became_another_type_is_left_out(iris: Trained) -> None:
    rows = iris.train.assign(sepal_width="wide")
    assert len(compare(rows, profile_rows(iris.train, iris.schema), Drift(), "1").figures) == 3
