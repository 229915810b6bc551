from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ratchet.config import Evaluate
from ratchet.datasets import row_hashes
from ratchet.evaluation import Evaluation
from ratchet.gates import comparison_check, floor_check, unseen_rows
from ratchet.packaging import Package, load_package
from tests.unit.conftest import Trained, baseline


def evaluation(metric: str, value: float) -> Evaluation:
    return Evaluation(metrics={metric: value}, primary_metric=metric, low=0, high=1, confidence=0.95, n_rows=30)


@pytest.mark.parametrize(("value", "passed"), [(0.89, False), (0.9, True), (0.91, True)])
def test_a_score_needs_its_floor(value: float, passed: bool) -> None:
    check = floor_check(evaluation("f1_macro", value), Evaluate(primary_metric="f1_macro", minimum=0.9))
    assert check.passed == passed
    assert check.reason == f"f1_macro {value:.4f}, needed at least 0.9"


@pytest.mark.parametrize(("value", "passed"), [(59.0, True), (60.0, True), (61.0, False)])
def test_a_loss_needs_its_ceiling(value: float, passed: bool) -> None:
    check = floor_check(evaluation("rmse", value), Evaluate(primary_metric="rmse", maximum=60))
    assert check.passed == passed
    assert "at most 60" in check.reason


def test_without_a_floor_everything_passes() -> None:
    assert floor_check(evaluation("accuracy", 0.1), Evaluate(primary_metric="accuracy")).passed


@pytest.fixture
def package(iris_package: tuple[Path, str]) -> Package:
    return load_package(*iris_package)


def worse(package: Package) -> Package:
    return replace(package, model=baseline("train.params.C=0.00001").model)


def test_without_a_champion_there_is_nothing_to_beat(package: Package, iris: Trained) -> None:
    assert comparison_check(package, None, iris.holdout, "f1_macro").passed


def test_the_better_one_wins_and_a_tie_goes_to_the_champion(package: Package, iris: Trained) -> None:
    better, tie, lost = (
        comparison_check(challenger, champion, iris.holdout, "f1_macro")
        for challenger, champion in [(package, worse(package)), (package, package), (worse(package), package)]
    )
    assert (better.passed, tie.passed, lost.passed) == (True, False, False)
    assert better.figure is not None
    assert better.limit is not None
    assert better.figure > better.limit


def test_less_is_better_for_a_loss(package: Package, iris: Trained) -> None:
    assert comparison_check(package, worse(package), iris.holdout, "log_loss").passed
    assert not comparison_check(worse(package), package, iris.holdout, "log_loss").passed


def test_rows_that_either_was_fitted_on_are_left_out(package: Package, iris: Trained) -> None:
    mine, theirs = iris.holdout.iloc[:3], iris.holdout.iloc[3:5]
    challenger = replace(package, training_rows=row_hashes(mine))
    champion = replace(package, training_rows=row_hashes(theirs))
    assert unseen_rows(iris.holdout, challenger, champion).index.tolist() == list(range(5, 30))


def test_a_champion_that_knows_the_holdout_cannot_be_compared_on_it(package: Package, iris: Trained) -> None:
    cheat = replace(package, training_rows=row_hashes(pd.concat([iris.train, iris.holdout])))
    check = comparison_check(package, cheat, iris.holdout, "f1_macro")
    assert not check.passed
    assert check.reason.startswith("0 of 30 held-out rows are new to both models, 10 are needed")


def test_a_holdout_of_another_seed_is_found_out(package: Package) -> None:
    other = baseline("seed=7")
    assert len(unseen_rows(other.holdout, package)) < len(other.holdout) / 2
