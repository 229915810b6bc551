from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.config.files import json_schema, load_config, parse_config
from ratchet.config.tuning import TuningConfig
from ratchet.errors import ConfigError
from ratchet.experiments.tuning.samplers import check_search, most_trials
from ratchet.experiments.tuning.space import check_space, choose, config_with, values_of
from tests.fitted import CONFIGS

LOGISTIC, FOREST = "sklearn.linear_model.LogisticRegression", "sklearn.ensemble.RandomForestClassifier"
C: dict[str, Any] = {"type": "float", "low": 0.01, "high": 100, "log": True}
ESTIMATORS: dict[str, Any] = {"type": "categorical", "choices": [LOGISTIC, FOREST]}


def tuning(space: dict[str, Any], **more: Any) -> TuningConfig:
    search = {"space": space, **more.pop("search", {})}
    data = {
        "pipeline": "tuning",
        "model": "iris",
        "dataset": {"source": "sklearn", "name": "iris", "target": "species"},
        "train": {"estimator": LOGISTIC, "params": {"C": 1.0, "max_iter": 500}},
        "evaluate": {"primary_metric": "f1_macro"},
        "search": search,
        **more,
    }
    config: TuningConfig = parse_config(data)
    return config


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "search.space: the space is empty"),
        ({"train.params.C": {**C, "type": "real"}}, "search.space.train.params.C"),
        ({"train.params.C": {**C, "low": 200}}, "search.space.train.params.C.*low 200 is more than high 100"),
        ({"train.params.C": {**C, "low": 0}}, "log: expected low above 0, got 0"),
        ({"train.params.C": {**C, "step": 0.1}}, "log or step, not both"),
        (
            {"train.params.C": {"type": "float", "low": 0, "high": 1, "step": 0.3}},
            "step: 1 is not a multiple of 0.3 above 0",
        ),
        (
            {"embed.n_components": {"type": "int", "low": 1.5, "high": 3}},
            "search.space.embed.n_components.low: got 1.5",
        ),
        ({"embed.scaler": {"type": "categorical", "choices": []}}, "got no choice"),
        ({"embed.scaler": {"type": "categorical", "choices": ["none", "none"]}}, "expected each choice once"),
        ({"evaluate.minimum": {"type": "float", "low": 0, "high": 1}}, "evaluate.minimum: cannot be tuned"),
        ({"seed": {"type": "int", "low": 0, "high": 1}}, "seed: cannot be tuned"),
        ({"train.params.C": {**C, "when": {"train.estimator": LOGISTIC}}}, "'train.estimator' is not in the space"),
        (
            {"train.estimator": ESTIMATORS, "train.params.C": {**C, "when": {"train.estimator": "SVC"}}},
            "train.params.C.when: train.estimator is never 'SVC'",
        ),
        (
            {
                "embed.scaler": {"type": "categorical", "choices": ["none"], "when": {"embed.reducer": "pca"}},
                "embed.reducer": {"type": "categorical", "choices": ["pca"], "when": {"embed.scaler": "none"}},
            },
            "the conditions are circular",
        ),
        ({"train.params.C": {**C, "hihg": 3}}, "unknown key 'search.space.train.params.C.hihg'; did you mean 'high'"),
    ],
)
def test_an_invalid_space_is_one_line(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        tuning(space)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.params.Cc": C}, "with train.params.Cc 0.01: .*has no hyper-parameter 'Cc'; did you mean 'C'"),
        ({"train.params.C": {"type": "float", "low": -1, "high": 1}}, "with train.params.C -1.0: The 'C' parameter"),
        (
            {"train.params.solver": {"type": "categorical", "choices": ["lbfgs", "lbgfs"]}},
            "train.params.solver 'lbgfs'",
        ),
        ({"embed.n_components": {"type": "int", "low": 0, "high": 2}}, "with embed.n_components 0: embed.n_components"),
        (
            {"embed.scalar": {"type": "categorical", "choices": ["none"]}},
            "unknown key .*scalar'; did you mean 'scaler'",
        ),
        ({"train.params.C.deep": C}, "'C' is a value, it has no keys"),
        (
            {"train.estimator": ESTIMATORS, "train.params.C": C},
            f"with train.estimator '{FOREST}': .*has no hyper-parameter 'C'",
        ),
        (
            {"train.estimator": {"type": "categorical", "choices": [LOGISTIC, "sklearn.linear_model.Ridge"]}},
            "expected an estimator for the task classification, got",
        ),
    ],
)
def test_a_space_that_contradicts_the_estimator_is_refused_before_a_trial(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_space(tuning(space))
    assert "\n" not in str(caught.value)


def test_a_condition_limits_a_parameter_to_the_estimator_that_has_it() -> None:
    space = {
        "train.params.C": {**C, "when": {"train.estimator": LOGISTIC}},
        "train.estimator": ESTIMATORS,
        "train.params.n_estimators": {"type": "int", "low": 5, "high": 10, "when": {"train.estimator": [FOREST]}},
    }
    config = tuning(space)
    check_space(config)
    picked = choose(config.search.space, lambda path, parameter: parameter.ends[-1])
    assert picked == {"train.estimator": FOREST, "train.params.n_estimators": 10}


def test_a_condition_on_a_parameter_that_does_not_apply_does_not_hold() -> None:
    space = {
        "train.estimator": ESTIMATORS,
        "train.params.bootstrap": {"type": "categorical", "choices": [True], "when": {"train.estimator": FOREST}},
        "train.params.max_samples": {
            "type": "float", "low": 0.5, "high": 0.9, "when": {"train.params.bootstrap": True},
        },
    }  # fmt: skip
    config = tuning(space)
    check_space(config)
    first = choose(config.search.space, lambda path, parameter: parameter.ends[0])
    assert first == {"train.estimator": LOGISTIC}


def test_the_order_of_the_file_makes_no_difference() -> None:
    space = {"train.params.C": {**C, "when": {"train.estimator": LOGISTIC}}, "train.estimator": ESTIMATORS}
    picked = [
        list(choose(tuning(dict(pairs)).search.space, lambda path, parameter: parameter.ends[0]))
        for pairs in (space.items(), reversed(space.items()))
    ]
    assert picked[0] == picked[1] == ["train.estimator", "train.params.C"]


def test_another_estimator_does_not_inherit_the_baselines_hyper_parameters() -> None:
    base = tuning({"train.params.C": C}).base()
    same = config_with(base, {"train.params.C": 3.0})
    other = config_with(base, {"train.estimator": FOREST, "train.params.n_estimators": 7})
    assert same.train.params == {"C": 3.0, "max_iter": 500}
    assert other.train.params == {"n_estimators": 7}
    assert same.pipeline == "training"


def test_the_baseline_is_a_point_of_its_space_with_the_estimators_defaults() -> None:
    tol = {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}
    values, why = values_of(tuning({"train.params.C": C, "train.params.tol": tol}))
    assert (values, why) == ({"train.params.C": 1.0, "train.params.tol": 1e-4}, "")


def test_a_baseline_outside_of_its_space_has_a_reason() -> None:
    values, why = values_of(tuning({"train.params.C": {**C, "low": 2}}))
    assert (values, why) == (None, "the space has no train.params.C 1.0")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"sampler": {"name": "tpa"}}, "search.sampler.name"),
        ({"sampler": {"params": {"n_startup": 3}}}, "search.sampler.params: there is no 'n_startup'; did you mean"),
        ({"sampler": {"params": {"n_startup_trials": "x"}}}, "n_startup_trials: got 'x', expected int such as 10"),
        ({"pruner": {"params": {"n_startup_trials": True}}}, "n_startup_trials: got True, expected int such as 5"),
        ({"sampler": {"params": {"seed": 3}}}, "search.sampler.params: there is no 'seed'"),
        ({"pruner": {"name": "percentile", "params": {"percentile": 200}}}, "search.pruner.params: Percentile"),
        ({"sampler": {"name": "grid"}}, "a grid needs points, and train.params.C has none"),
        ({"trials": 0}, "search.trials"),
        ({"folds": 1}, "search.folds"),
        ({"timeout": -1}, "search.timeout"),
    ],
)
def test_an_invalid_search_is_refused(search: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_search(tuning({"train.params.C": C}, search=search).search)


def test_a_grid_has_as_many_trials_as_points() -> None:
    space = {
        "embed.scaler": {"type": "categorical", "choices": ["none", "standard"]},
        "embed.n_components": {"type": "int", "low": 1, "high": 4},
    }
    assert most_trials(tuning(space, search={"sampler": {"name": "grid"}, "trials": 100}).search) == 8


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        ({"engine": "processes", "address": "tcp://127.0.0.1:1"}, "address: needs the engine dask"),
        ({"workers": 2}, "the engine local has one worker"),
        ({"engine": "ray"}, "compute.engine"),
    ],
)
def test_an_invalid_engine_is_refused(compute: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tuning({"train.params.C": C}, compute=compute)


def test_a_study_does_not_start_from_the_champion() -> None:
    with pytest.raises(ConfigError, match="train.mode: a trial is fitted from scratch"):
        tuning({"train.params.C": C}, train={"estimator": LOGISTIC, "mode": "warm_start"})


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("tuning.yaml")), ids=lambda path: path.parent.name)
def test_the_repositorys_tuning_configs_are_valid(path: Path) -> None:
    config = load_config(path)
    check_search(config.search)
    check_space(config)
    baseline = load_config(path.with_name("baseline.yaml"))
    assert config.base() == baseline
    assert values_of(config)[0] is not None


def test_the_json_schema_contains_tuning() -> None:
    assert "SearchSpace" not in json.dumps(json_schema())
    assert "TuningConfig" in json_schema()["$defs"]
