"""The level holds without drift, and drift of the documented effect size is detected."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ratchet.config import Drift
from ratchet.data.schema import Field, Schema
from ratchet.model.package.profile import Profile
from ratchet.model.package.profiling import profile_rows
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.monitoring.drift.domain_classifier import separate
from ratchet.monitoring.drift.report import compare, compare_window
from tests.fitted import Trained, baseline, packaged

pytestmark = pytest.mark.slow

METHODS = ("psi", "ks", "jensen_shannon", "chi_square")
WINDOWS = 200
# If the level of 0.05 is held, 200 windows show this many false marks or fewer in 99.9 of 100 cases.
MOST_FALSE = int(scipy.stats.binom.ppf(0.999, WINDOWS, 0.05))
NUMBERS, PLANS = ("age", "income", "visits", "days"), ("basic", "plus", "pro")


def people(seed: int, n_rows: int, shift: float = 0.0, plans: tuple[float, ...] = (0.6, 0.3, 0.1)) -> pd.DataFrame:
    """Rows of one population: correlated, skewed and counted numbers, a category, and gaps in both.

    Parameters
    ----------
    shift: of ``age`` and ``income``, in standard deviations.
    plans: the shares of the categories.
    """
    generator = np.random.default_rng(seed)
    age = generator.normal(size=n_rows)
    income = 0.6 * age + 0.8 * generator.normal(size=n_rows)
    rows = pd.DataFrame({"age": age + shift, "income": income + shift, "visits": generator.poisson(1.5, n_rows)})
    rows["days"] = generator.exponential(30, n_rows).round(1)
    rows["plan"] = pd.Series(generator.choice(PLANS, n_rows, p=plans), dtype=object)
    for name in ("days", "plan"):
        rows.loc[generator.random(n_rows) < 0.05, name] = None
    rows["left"] = np.where(age + generator.normal(size=n_rows) > 0, "yes", "no")
    return rows


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model of 500 rows of the population, 400 to train with."""
    path = tmp_path_factory.mktemp("people") / "people.csv"
    people(10_000, 500).to_csv(path, index=False)
    return baseline(f"dataset={{source: csv, path: {path}, target: left}}")


@pytest.fixture(scope="module")
def package(churn: Trained, tmp_path_factory: pytest.TempPathFactory) -> Package:
    return load_package(*packaged(churn, tmp_path_factory.mktemp("package") / "people"))


def of(method: str, **more: object) -> Drift:
    return Drift.model_validate({"method": method, **more})


@functools.cache
def population(n_rows: int, **change: Any) -> list[tuple[Profile, pd.DataFrame]]:
    """Return a window for each seed with its own reference, so that the windows are independent."""
    return [(reference(seed), people(WINDOWS + seed, n_rows, **change)) for seed in range(WINDOWS)]


@functools.cache
def reference(seed: int) -> Profile:
    fields = [Field(name=name, type="number", nullable=True) for name in NUMBERS]
    plan = Field(name="plan", type="category", nullable=True, categories=PLANS)
    return profile_rows(people(seed, 400), Schema(features=(*fields, plan), target="left"))


@pytest.mark.parametrize("n_rows", [30, 200])
@pytest.mark.parametrize("method", METHODS)
def test_without_drift_the_share_of_alarms_is_within_the_level(method: str, n_rows: int) -> None:
    reports = [compare(rows, profile, of(method, threshold=None), "1") for profile, rows in population(n_rows)]
    assert sum(bool(report.drifted) for report in reports) <= MOST_FALSE
    assert not any(report.detected for report in reports)


@pytest.mark.parametrize(("n_rows", "shift"), [(200, 0.75), (50, 1.0)])
@pytest.mark.parametrize("method", METHODS)
def test_the_documented_shift_is_found(method: str, n_rows: int, shift: float) -> None:
    windows = population(n_rows, shift=shift)
    found = [{"age", "income"} <= set(compare(rows, profile, of(method), "1").drifted) for profile, rows in windows]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("method", METHODS)
def test_reversed_shares_of_categories_are_detected_in_200_rows(method: str) -> None:
    windows = population(200, plans=(0.2, 0.3, 0.5))
    found = ["plan" in compare(rows, profile, of(method), "1").drifted for profile, rows in windows]
    assert np.mean(found) >= 0.95


def test_embedded_features_and_predictions_hold_the_level(package: Package) -> None:
    # All windows share one reference, so that they are not independent: the bound is twice the level.
    config = of("psi", threshold=None, domain_auc=None)
    reports = [compare_window(people(seed, 200), None, package, config, "1") for seed in range(WINDOWS)]
    marked = [any(c.drifted for c in (*r.embedded, *r.predictions)) or bool(r.drifted) for r in reports]
    assert sum(marked) <= int(scipy.stats.binom.ppf(0.999, WINDOWS, 0.10))
    usual = [compare_window(people(seed, 200), None, package, Drift(), "1") for seed in range(10)]
    assert not any(report.detected for report in usual)


def test_changed_predictions_are_drift_without_drift_of_the_inputs(package: Package) -> None:
    rows = people(1, 200)
    report = compare_window(rows, ["yes"] * 180 + ["no"] * 20, package, Drift(domain_auc=None), "1")
    assert (report.drifted, report.detected) == ((), True)
    assert "the predictions drifted" in report.summary
    assert not compare_window(rows, package.model.predict(rows), package, Drift(), "1").detected


def correlated(correlation: float) -> Callable[[int, int], pd.DataFrame]:
    covariance = np.full((3, 3), correlation)
    np.fill_diagonal(covariance, 1)
    return lambda seed, n_rows: pd.DataFrame(
        np.random.default_rng(seed).multivariate_normal(np.zeros(3), covariance, n_rows), columns=list("abc")
    )


def test_the_domain_classifier_holds_its_level() -> None:
    trials = 30
    draw = correlated(0.8)
    p_values = np.array([separate(draw(seed, 120), draw(1000 + seed, 60)).p_value for seed in range(trials)])
    for level in (0.05, 0.0125):
        assert np.sum(p_values <= level) <= scipy.stats.binom.ppf(0.999, trials, level)


def test_the_domain_classifier_detects_a_lost_correlation() -> None:
    for seed in range(8):
        verdict = separate(correlated(0.8)(seed, 400), correlated(0)(1000 + seed, 200))
        assert verdict.auc > 0.65
        assert verdict.p_value < 0.0125


def test_the_domain_classifier_is_deterministic_and_gives_0_5_for_constant_rows() -> None:
    one, other = correlated(0)(0, 600), correlated(0.5)(1, 700)
    assert separate(one, other) == separate(one, other)
    constant = pd.DataFrame({"a": np.zeros(30), "b": ["x"] * 30})
    assert separate(constant, constant) == (0.5, 1.0)


def test_a_separation_by_the_domain_classifier_is_drift(iris: Trained, iris_package: tuple[Path, str]) -> None:
    generator = np.random.default_rng(0)
    shuffled = iris.train.apply(generator.permutation)
    report = compare_window(shuffled, None, load_package(*iris_package), Drift(), "1")
    assert report.drifted == ()
    assert (report.domain_drifted, report.detected) == (True, True)
    assert "separable from training rows with AUC 0.8" in report.summary
    assert not compare_window(shuffled, None, load_package(*iris_package), Drift(domain_auc=None), "1").drifted
