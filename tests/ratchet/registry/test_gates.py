from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.dummy import DummyClassifier

from ratchet.config import Costs
from ratchet.config.files import parse_config
from ratchet.data import row_hashes
from ratchet.data.row_identities import RowIdentities, identify
from ratchet.data.schema import Field, Schema
from ratchet.data.training_rows import TrainingRows
from ratchet.errors import ConfigError, DataError
from ratchet.model import metrics
from ratchet.model.evaluation import Evaluation, evaluate_model
from ratchet.model.metrics import ClassificationScores, RegressionScores
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.registry.gates import Check, GateInput, run_checks
from ratchet.registry.gates.champion import (
    against_champion,
    both_scores,
    new_to_both,
    reference_holdout,
)
from ratchet.registry.gates.contract import Result
from ratchet.registry.gates.labels import unbiased_labels
from ratchet.registry.gates.package import floor, incompatibilities
from ratchet.registry.gates.paired_interval import paired_interval
from tests.fitted import Trained, baseline, packaged

CASES = Path(__file__).resolve().parents[2] / "cases"


@pytest.fixture
def package(iris_package: tuple[Path, str]) -> Package:
    return load_package(*iris_package)


@pytest.fixture(scope="session")
def blind() -> Any:
    """A model that hardly separates the classes, with another number of components."""
    return baseline("embed.n_components=1", "train.params.C=0.00001").model


@pytest.fixture
def weak(package: Package, blind: Any) -> Package:
    """A champion that is easy to beat."""
    return replace(package, model=blind)


def given(iris: Trained, challenger: Package, champion: Package | None, **asked: Any) -> GateInput:
    config = iris.config.model_copy(update={"promote": iris.config.promote.model_copy(update=asked)})
    evaluation = evaluate_model(challenger.model, iris.holdout, iris.schema, config.evaluate, seed=1)
    return GateInput(config, challenger, champion, iris.holdout, iris.holdout_identities, evaluation)


def named(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_first_version_passes_every_check(iris: Trained, package: Package) -> None:
    checks = run_checks(given(iris, package, None))
    assert [check.name for check in checks] == [
        "floor",
        "against_champion",
        "reference_holdout",
        "unbiased_labels",
        "signature",
        "golden",
        "onnx_parity",
        "latency",
    ]
    assert all(check.passed for check in checks)
    assert named(checks)["against_champion"].reason == "there is no champion yet"


def test_all_checks_run_even_after_one_has_failed(iris: Trained, package: Package, weak: Package) -> None:
    checks = run_checks(given(iris, weak, package, latency_ms=1e-9))
    assert len(checks) == 8
    assert {check.name for check in checks if not check.passed} == {
        "floor",
        "against_champion",
        "golden",
        "onnx_parity",
        "latency",
    }


@pytest.mark.parametrize(
    ("metric", "limit", "value", "passed"),
    [
        ("f1_macro", {"minimum": 0.9}, 0.89, False),
        ("f1_macro", {"minimum": 0.9}, 0.9, True),
        ("log_loss", {"maximum": 0.5}, 0.5, True),
        ("log_loss", {"maximum": 0.5}, 0.51, False),
        ("f1_macro", {}, 0.1, True),
    ],
)
def test_a_score_has_a_floor_and_a_loss_a_ceiling(
    iris: Trained, package: Package, metric: str, limit: dict[str, float], value: float, passed: bool
) -> None:
    evaluate = iris.config.evaluate.model_copy(update={"primary_metric": metric, "minimum": None, **limit})
    evaluation = Evaluation(metrics={metric: value}, primary_metric=metric, low=0, high=1, confidence=0.95, n_rows=30)
    config = iris.config.model_copy(update={"evaluate": evaluate})
    check = floor(GateInput(config, package, None, iris.holdout, iris.holdout_identities, evaluation))
    assert check.passed == passed


def against(iris: Trained, challenger: Package, champion: Package, **asked: Any) -> Result:
    return against_champion(given(iris, challenger, champion, **asked))


def test_a_clearly_better_challenger_passes_and_a_clearly_worse_one_fails(
    iris: Trained, package: Package, weak: Package
) -> None:
    assert against(iris, package, weak).passed
    lost = against(iris, weak, package)
    assert not lost.passed
    assert lost.figure is not None
    assert lost.figure < 0
    assert "needed above 0" in lost.reason


def test_a_tie_goes_to_the_champion(iris: Trained, package: Package) -> None:
    check = against(iris, package, package)
    assert (check.figure, check.limit, check.passed) == (0.0, 0.0, False)


def test_not_worse_accepts_a_loss_within_the_margin(iris: Trained, package: Package, weak: Package) -> None:
    assert against(iris, package, package, policy="not_worse", margin=0.01).passed
    assert not against(iris, weak, package, policy="not_worse", margin=0.01).passed
    assert against(iris, weak, package, policy="not_worse", margin=0.99).passed


def test_the_policy_always_passes_the_comparison(iris: Trained, package: Package, weak: Package) -> None:
    assert against(iris, weak, package, policy="always").passed


@pytest.mark.parametrize(
    ("promote", "message"),
    [
        ({"policy": "not_worse"}, "needs a margin above 0"),
        ({"policy": "better", "margin": 0.1}, "policy better takes no margin"),
        ({"policy": "best"}, "promote.policy: got 'best'"),
    ],
)
def test_a_margin_is_valid_only_with_the_policy_not_worse(iris: Trained, promote: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({**iris.config.model_dump(mode="json"), "promote": promote})


def fitted_on(package: Package, *parts: RowIdentities) -> Package:
    """A package that was fitted on these rows of one data version."""
    ids, contents = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "contents"))
    return replace(package, training_rows=TrainingRows.of(RowIdentities(parts[0].source, ids, contents, len(ids))))


def test_rows_that_either_was_fitted_on_are_left_out(iris: Trained, package: Package) -> None:
    at = np.arange(30)
    challenger = fitted_on(package, iris.holdout_identities.select(at < 3))
    champion = fitted_on(package, iris.holdout_identities.select((at >= 3) & (at < 5)))
    asked = given(iris, challenger, champion)
    assert np.flatnonzero(new_to_both(asked, champion)).tolist() == list(range(5, 30))


def test_a_champion_fitted_on_the_holdout_is_not_compared_on_it(iris: Trained, package: Package) -> None:
    cheat = fitted_on(package, iris.train_identities, iris.holdout_identities)
    check = against(iris, package, cheat)
    assert not check.passed
    assert check.reason.startswith("0 of 30 held-out rows are new to both models, 10 are needed")


def test_training_rows_in_the_holdout_of_another_seed_are_left_out(iris: Trained, package: Package) -> None:
    other = baseline("seed=7")
    asked = replace(
        given(iris, fitted_on(package, other.train_identities), package),
        holdout=other.holdout,
        identities=other.holdout_identities,
    )
    shared = np.isin(other.holdout_identities.ids, iris.holdout_identities.ids)
    assert np.array_equal(new_to_both(asked, package), shared)
    assert shared.sum() < len(shared) / 2


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Package, Package]:
    """A data set in which each combination of answers occurs many times: a logistic regression, then a forest."""
    dataset = f"dataset={{source: csv, path: {CASES / 'survey.csv'}, target: decision}}"
    forest = "train={estimator: sklearn.ensemble.RandomForestClassifier, params: {n_estimators: 20}}"
    models = [baseline(dataset, "embed.n_components=null", *train) for train in ([], [forest])]
    packages = [load_package(*packaged(one, tmp_path_factory.mktemp("survey") / "package")) for one in models]
    return models[1], packages[1], packages[0]


def test_a_survey_is_compared_on_all_held_out_rows_of_the_same_split(survey: tuple[Trained, Package, Package]) -> None:
    trained, challenger, champion = survey
    check = against(trained, challenger, champion)
    assert "400 rows new to both" in check.reason


def test_a_package_that_was_written_before_rows_had_identities_is_compared(
    iris: Trained, package: Package, weak: Package
) -> None:
    known = pd.concat([iris.train, iris.holdout.head(5)])
    old = TrainingRows(frozenset(), *[np.empty(0, dtype=np.uint64)] * 2, 0, 0, labelled=row_hashes(known))
    check = against(iris, package, replace(weak, training_rows=old))
    assert check.passed
    assert "25 rows new to both" in check.reason


def test_clients_of_the_champion_must_not_be_broken(iris: Trained) -> None:
    before = iris.schema
    assert incompatibilities(before, before) == []
    new = before.model_copy(update={"features": (*before.features, Field(name="x", type="number", nullable=False))})
    assert incompatibilities(before, new) == ["'x' is new, clients do not send it"]
    assert incompatibilities(new, before) == [], "what is sent and not needed does no harm"
    retyped = before.model_copy(
        update={"features": (Field(name="sepal_length", type="category", nullable=False), *before.features[1:])}
    )
    assert incompatibilities(before, retyped) == ["'sepal_length' was a number, is a category"]
    fewer = before.model_copy(update={"labels": ("setosa", "versicolor")})
    assert incompatibilities(before, fewer) == ["the label 'virginica' was removed"]
    assert "labels became numbers" in incompatibilities(before, before.model_copy(update={"labels": None}))[0]


def test_models_of_other_columns_are_not_compared(iris: Trained, package: Package, weak: Package) -> None:
    fewer = replace(weak, schema=weak.schema.model_copy(update={"features": weak.schema.features[:3]}))
    check = against(iris, package, fewer)
    assert (check.passed, check.figure) == (False, None)
    assert "the champion takes other columns" in check.reason


def test_an_undefined_metric_fails_the_comparison(iris: Trained, package: Package, weak: Package) -> None:
    asked = given(iris, package, weak)
    evaluate = asked.config.evaluate.model_copy(update={"primary_metric": "roc_auc"})
    one_class = iris.holdout[iris.holdout["species"] == "setosa"]
    config = asked.config.model_copy(update={"evaluate": evaluate})
    identities = iris.holdout_identities.select((iris.holdout["species"] == "setosa").to_numpy())
    check = against_champion(replace(asked, config=config, holdout=one_class, identities=identities))
    assert (check.passed, check.figure) == (False, None)
    assert "roc_auc is not defined on the 10 rows new to both" in check.reason


def test_a_check_that_raises_has_failed(iris: Trained, package: Package) -> None:
    def broken(given: GateInput) -> Result:
        raise DataError("no rows")

    def incomplete(given: GateInput) -> Result:
        raise KeyError("petal_area")

    one, other = run_checks(given(iris, package, None), [broken, incomplete])
    assert (one.name, one.passed, one.reason) == ("broken", False, "no rows")
    assert (other.passed, other.reason) == (False, "the holdout has no column 'petal_area'")


def test_a_package_without_onnx_is_timed_and_passes(iris: Trained, package: Package) -> None:
    checks = named(run_checks(given(iris, replace(package, onnx=None), None)))
    assert checks["onnx_parity"].reason == "there is no ONNX export"
    assert checks["latency"].passed


class Flipped:
    """A model that confuses classes."""

    def __init__(self, model: Any, swap: dict[str, str]) -> None:
        self._model, self._swap = model, swap
        self.classes_ = model.classes_
        self.__sklearn_tags__ = model.__sklearn_tags__

    def predict(self, features: pd.DataFrame) -> Any:
        return np.array([self._swap.get(label, label) for label in self._model.predict(features)], dtype=object)


FLIP = {"versicolor": "virginica", "virginica": "versicolor"}


def with_production(
    iris: Trained, package: Package, flip: dict[str, str], n_production: int = 60, **asked: Any
) -> GateInput:
    """Return a champion, and a challenger that differs from it and is right on production rows."""
    production = iris.holdout.sample(n_production, replace=True, random_state=0)
    production = production.assign(sepal_length=production["sepal_length"] + 0.001)
    production["species"] = Flipped(package.model, flip).predict(iris.schema.select(production))
    challenger = replace(package, model=Flipped(package.model, flip), onnx=None)
    asked_for = given(iris, package, package, **asked)
    known, new = iris.holdout_identities, identify(production, "species", "production", np.arange(n_production))
    identities = RowIdentities(
        known.source, np.append(known.ids, new.ids), np.append(known.contents, new.contents), len(known)
    )
    return replace(
        asked_for,
        challenger=challenger,
        holdout=pd.concat([iris.holdout, production], ignore_index=True),
        identities=identities,
        n_reference=len(iris.holdout),
    )


def test_a_challenger_that_is_worse_on_the_reference_fails_reference_holdout(iris: Trained, package: Package) -> None:
    """A challenger trained on malicious labels wins on production rows, and would win on all rows."""
    poisoned = with_production(iris, package, FLIP, reference_margin=0.1)
    checks = named(run_checks(poisoned, [against_champion, reference_holdout]))
    assert checks["against_champion"].passed
    refused = checks["reference_holdout"]
    assert not refused.passed
    assert refused.limit == -0.1
    assert refused.figure is not None
    assert refused.figure < -0.5
    assert "on 30 held-out rows of the reference, 0.9333 by the champion" in refused.reason
    assert refused.reason.endswith("allowed down to -0.1")


def test_biased_labels_of_production_refuse_unless_nothing_is_compared(iris: Trained, package: Package) -> None:
    asked = with_production(iris, package, FLIP)
    assert unbiased_labels(asked).passed
    biased = replace(asked, label_bias="labels depend on the answer")
    assert unbiased_labels(biased) == Result(False, "labels depend on the answer")
    assert unbiased_labels(replace(biased, champion=None)).passed
    assert unbiased_labels(replace(with_production(iris, package, FLIP, policy="always"), label_bias="so")).passed


def test_small_losses_of_many_runs_do_not_exceed_the_margin_in_all(iris: Trained, package: Package) -> None:
    """The champion is worse already; the comparison is with the last version trained without production data."""
    poisoned = with_production(iris, package, FLIP, reference_margin=0.1)
    taught = replace(poisoned, champion=poisoned.challenger)
    assert reference_holdout(taught).passed, "no worse than the champion"
    check = reference_holdout(replace(taught, anchor=package))
    assert not check.passed
    assert "by the last version trained without production data" in check.reason


def test_a_loss_on_the_reference_up_to_the_margin_passes(iris: Trained, package: Package) -> None:
    worse = with_production(iris, package, FLIP)
    figure = reference_holdout(worse).figure
    assert figure is not None
    for margin, passed in ((-figure - 1e-6, False), (-figure, True), (-figure + 1e-6, True)):
        check = reference_holdout(with_production(iris, package, FLIP, reference_margin=margin))
        assert (check.passed, check.figure) == (passed, figure)


def test_a_challenger_without_a_loss_on_the_reference_passes(iris: Trained, package: Package, weak: Package) -> None:
    kept = reference_holdout(with_production(iris, package, {}, reference_margin=0))
    assert (kept.figure, kept.limit, kept.passed) == (0.0, 0.0, True)
    assert kept.reason.endswith("a change of +0.0000, allowed down to 0")
    better = replace(with_production(iris, package, {}, reference_margin=0), champion=weak)
    assert reference_holdout(better).passed


def test_the_reference_check_handles_loss_metrics(iris: Trained, package: Package, weak: Package) -> None:
    evaluate = iris.config.evaluate.model_copy(update={"primary_metric": "log_loss", "minimum": None})
    asked = with_production(iris, package, {})
    asked = replace(asked, config=asked.config.model_copy(update={"evaluate": evaluate}))
    worse = reference_holdout(replace(asked, challenger=weak, champion=package))
    better = reference_holdout(replace(asked, challenger=package, champion=weak))
    assert worse.figure is not None
    assert better.figure == -worse.figure > 0.1
    assert (worse.passed, better.passed) == (False, True)


@pytest.mark.parametrize(
    ("changes", "asked", "reason"),
    [
        ({"n_reference": None}, {}, "there is no production data in this run"),
        ({"champion": None}, {}, "there is no production data in this run"),
        ({}, {"reference_margin": None}, "the config does not check it (reference_margin: null)"),
    ],
)
def test_the_reference_check_passes_without_production_data_or_a_margin(
    iris: Trained, package: Package, changes: dict[str, Any], asked: dict[str, Any], reason: str
) -> None:
    check = reference_holdout(replace(with_production(iris, package, FLIP, **asked), **changes))
    assert (check.passed, check.figure, check.reason) == (True, None, reason)


def test_the_reference_check_fails_with_too_few_rows_new_to_both(iris: Trained, package: Package) -> None:
    asked = with_production(iris, package, {})
    cheat = fitted_on(package, iris.train_identities, iris.holdout_identities.select(np.arange(30) < 21))
    check = reference_holdout(replace(asked, champion=cheat))
    assert (check.passed, check.figure) == (False, None)
    assert check.reason == "9 rows of the reference are new to both models, 10 are needed"


def test_an_undefined_metric_fails_the_reference_check(iris: Trained, package: Package) -> None:
    asked = with_production(iris, package, {})
    evaluate = asked.config.evaluate.model_copy(update={"primary_metric": "roc_auc"})
    one_class = iris.holdout[iris.holdout["species"] == "setosa"]
    identities = iris.holdout_identities.select((iris.holdout["species"] == "setosa").to_numpy())
    changes = {"holdout": one_class, "identities": identities, "n_reference": len(one_class), "challenger": package}
    config = asked.config.model_copy(update={"evaluate": evaluate})
    check = reference_holdout(replace(asked, config=config, **changes))
    assert (check.passed, check.figure) == (False, None)
    assert check.reason == "roc_auc is not defined on the 10 rows of the reference that are new to both models"


SIMULATIONS, ROWS = 200, 300


def pair(seed: int, gain: float) -> tuple[ClassificationScores, ClassificationScores]:
    """Two classifiers of 80 % accuracy whose errors have much in common; the first is better by ``gain``."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, ROWS)
    hard = generator.random(ROWS) < 0.2
    flips = [(hard ^ (generator.random(ROWS) < 0.1)) for _ in range(2)]
    flips[0] &= generator.random(ROWS) >= gain
    return tuple(ClassificationScores(truth, truth ^ flip, None, 2) for flip in flips)  # type: ignore[return-value]


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro"])
def test_without_a_true_difference_the_gate_promotes_no_more_often_than_its_level(metric: str) -> None:
    promoted = sum(paired_interval(metric, *pair(seed, 0.0), 0.025, 500, seed)[0] > 0 for seed in range(SIMULATIONS))
    # One side of a 95 % interval is left out in 2.5 %; at most the 99.9th percentile of that many in 200.
    assert promoted <= binom.ppf(0.999, SIMULATIONS, 0.025)


def test_with_a_clear_difference_the_gate_promotes_almost_always() -> None:
    lows = [paired_interval("accuracy", *pair(seed, 0.6), 0.025, 500, seed)[0] for seed in range(SIMULATIONS)]
    assert sum(low > 0 for low in lows) >= binom.ppf(0.001, SIMULATIONS, 0.99)


def test_not_worse_holds_its_level_at_the_margin() -> None:
    # The challenger is worse by just the margin: passing "not worse" is an error, in 2.5 % at most.
    generator = np.random.default_rng(11)
    passed = 0
    for seed in range(SIMULATIONS):
        truth = generator.normal(size=ROWS)
        theirs = truth + np.where(generator.random(ROWS) < 0.5, 1.0, -1.0) * generator.uniform(0.5, 1.5, ROWS)
        mine = truth + (theirs - truth) * generator.uniform(0.8, 1.4, ROWS)
        scores = RegressionScores(truth, mine), RegressionScores(truth, theirs)
        low, _ = paired_interval("mae", *scores, 0.025, 500, seed)
        passed += low > -0.1
    assert passed <= binom.ppf(0.999, SIMULATIONS, 0.025)


def test_both_models_are_scored_with_the_challengers_costs_and_positive_class() -> None:
    rows = pd.DataFrame({"x": [0.0] * 10, "y": ["no", "yes"] * 5})
    model = DummyClassifier(strategy="constant", constant="no").fit(rows[["x"]], rows["y"])
    schema = Schema(
        features=(Field(name="x", type="number", nullable=False),), target="y", labels=("no", "yes"), positive="yes"
    )
    before = schema.model_copy(update={"costs": Costs(false_negative=1, false_positive=1), "positive": "no"})
    after = schema.model_copy(update={"costs": Costs(false_negative=50, false_positive=1)})
    champion, challenger = (SimpleNamespace(model=model, schema=one) for one in (before, after))
    mine, theirs = both_scores(challenger, champion, rows)  # type: ignore[arg-type]
    assert [metrics.point("cost", scores) for scores in (mine, theirs)] == [25.0, 25.0]


def test_the_seed_fixes_the_paired_interval() -> None:
    one, same, other = (paired_interval("accuracy", *pair(0, 0.2), 0.025, 500, seed) for seed in (1, 1, 2))
    assert one == same != other
