from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from jsonschema import Draft202012Validator

from ratchet.config import TrainingConfig, config_hash
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.files import PIPELINES, find_config, json_schema, load_config, parse_config
from ratchet.data.schema import Field, Schema
from ratchet.errors import ConfigError
from ratchet.model.tasks import TASKS
from tests.conftest import ROOT

BASELINE, LOOP, SIMULATION = (
    ROOT / "configs" / f"{name}.yaml" for name in ("baseline", "continuous_training", "simulate")
)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_in_the_repository_is_valid(path: Path) -> None:
    assert load_config(path).pipeline in PIPELINES


def test_a_config_is_frozen() -> None:
    config = load_config(BASELINE)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # type: ignore[misc]


def test_a_bare_name_is_looked_up_in_configs() -> None:
    assert find_config("baseline.yaml", ROOT) == BASELINE
    assert find_config("baseline", ROOT) == BASELINE


def test_the_name_of_a_folder_is_its_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config("fraud", ROOT) == ROOT / "configs" / "fraud" / "baseline.yaml"
    assert find_config("configs/fraud", ROOT) == Path("configs/fraud/baseline.yaml")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "baseline.yaml").write_text("model: mine\n")
    monkeypatch.chdir(tmp_path)
    assert find_config("mine", ROOT) == Path("mine/baseline.yaml")


def test_no_config_repeats_another() -> None:
    files = [path for path in (ROOT / "configs").rglob("*.yaml") if not path.is_symlink()]
    contents = [tuple(line for line in path.read_text().splitlines() if not line.startswith("#")) for path in files]
    assert len(set(contents)) == len(files)
    assert BASELINE.resolve() == ROOT / "configs" / "iris" / "baseline.yaml"


def test_a_path_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "baseline.yaml").write_text("model: other\n")
    monkeypatch.chdir(tmp_path)
    assert find_config("baseline.yaml", ROOT) == Path("baseline.yaml")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("baselin.yaml", r"; did you mean 'baseline\.yaml' or '.*\.yaml'\?$"),
        ("fruad", r"; did you mean 'fraud'\?$"),
        ("nothing_like_it_at_all", r"; the nearest of \d\d are '[^']*' and '[^']*'$"),
    ],
)
def test_an_unknown_config_file_is_refused_with_the_nearest_names(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"no config file '{name}', neither here nor in configs/{hint}"):
        find_config(name, ROOT)


@pytest.mark.parametrize(
    ("config", "override", "message"),
    [
        (BASELINE, "trian.params.C=1", "unknown key 'trian'; did you mean 'train' or 'tracking'?"),
        (BASELINE, "dataset.nam=iris", "unknown key 'dataset.nam'; did you mean 'name'?"),
        (BASELINE, "dataset.columns.sepal_width.typ=number", "did you mean 'type'?"),
        (BASELINE, "zzz=1", "unknown key 'zzz'; the nearest of"),
        (BASELINE, "seed=abc", "seed: got 'abc': input should be a valid integer"),
        (BASELINE, "split.test_size=2", "split.test_size: got 2: input should be less than 1"),
        (BASELINE, "evaluate.primary_metric=f3", "evaluate.primary_metric: unknown metric 'f3'"),
        (BASELINE, "evaluate.primary_metric=rmse", "evaluate: rmse is a loss"),
        (BASELINE, "evaluate.maximum=0.5", "evaluate: f1_macro is a score"),
        (BASELINE, "task=regression", "'f1_macro' does not measure regression"),
        (BASELINE, "dataset.source=excel", "dataset: got"),
        (BASELINE, "train.estimator=forest", "train.estimator: got 'forest'"),
        (BASELINE, "train={}", "the key 'train.estimator' is missing"),
        (BASELINE, "seed", "expected key.key=value"),
        (BASELINE, "seed.deep=1", "'seed' is a value and has no keys"),
        (BASELINE, "seed=[1", "not valid YAML"),
        (LOOP, "triggers.quality_drop.metric=f1_macr", "unknown metric 'f1_macr'; did you mean 'f1_macro'?"),
        (LOOP, "triggers.quality_drop.metric=rmse", "triggers.quality_drop.metric: unknown metric 'rmse'"),
        (LOOP, "triggers.cron=0 3 30 2 *", "triggers.cron: the cron expression '0 3 30 2 *' never fires"),
        (LOOP, "triggers.cron=0 3 * *", "triggers.cron: '0 3 * *' is not a cron expression"),
        (LOOP, "triggers.cron=0 3 * * 9", "triggers.cron: '0 3 * * 9' is not a cron expression"),
        (LOOP, "triggers.drift.k=4", "triggers.drift: k of the last n windows: k is 4, expected at most n, 3"),
        (LOOP, "triggers.quality_drop.k=0", "triggers.quality_drop.k: got 0"),
        (LOOP, "triggers.quality_drop.drop=0", "triggers.quality_drop.drop: got 0"),
        (LOOP, "triggers.drift.windw=5", "unknown key 'triggers.drift.windw'; did you mean 'window'?"),
        (LOOP, "triggers.every_k_labels=0", "triggers.every_k_labels: got 0"),
        (LOOP, "triggers.minimum_labels=0", "triggers.minimum_labels: got 0"),
        (LOOP, "triggers.interval=0", "triggers.interval: got 0"),
        (LOOP, "triggers.cooldown=-1", "triggers.cooldown: got -1"),
        (LOOP, "production.holdout=1", "production.holdout: got 1"),
        (LOOP, "production.holdout=0", "production.holdout: got 0"),
        (LOOP, "production.most_rows=5", "production.most_rows: got 5"),
        (LOOP, "promote.reference_margin=-0.1", "promote.reference_margin: got -0.1"),
        (LOOP, "train.mode=warm", "train.mode: got 'warm'"),
        (LOOP, "trigers={}", "unknown key 'trigers'; did you mean 'triggers'?"),
        (
            SIMULATION,
            "drift=[{kind: mean_shift, at: 3, ram: 1, columns: {a: 1}}]",
            "unknown key 'drift.0.ram'; did you mean 'ramp'?",
        ),
        (
            SIMULATION,
            "drift=[{kind: class_prior, at: 3, prior: {}}]",
            "unknown key 'drift.0.prior'; did you mean 'priors'?",
        ),
        (SIMULATION, "drift=[{kind: rotation, at: x, angle: 9}]", "drift.0.at: got 'x'"),
        (SIMULATION, "drift=[{kind: mean, at: 3}]", "drift.0: got"),
    ],
)
def test_an_invalid_value_is_refused_with_its_key(config: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(config, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_invalid_keys_are_in_one_error() -> None:
    with pytest.raises(ConfigError, match=r"seed.*; .*split.test_size"):
        load_config(BASELINE, ["seed=x", "split.test_size=7"])


def test_overrides_are_applied_in_order_and_read_as_yaml() -> None:
    config = load_config(BASELINE, ["train.params.C=0.5", "train.params.C=1e-3", "train.params.fit_intercept=false"])
    assert config.train.params == {"C": 0.001, "max_iter": 500, "fit_intercept": False}


def test_integer_keys_stay_integers_dates_stay_text_and_exponents_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(BASELINE.read_text().replace("C: 1.0", "C: 1e-3, class_weight: {0: 1, 1: 5}, since: 2026-01-31"))
    expected = {"C": 0.001, "class_weight": {0: 1, 1: 5}, "max_iter": 500, "since": "2026-01-31"}
    assert load_config(path).train.params == expected
    assert load_config(BASELINE, ["train.params.weight={2: x}"]).train.params["weight"] == {2: "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "line 2: not valid YAML: the key 'seed' is given twice"),
        ("seed: [1\n", "not valid YAML"),
        ("- 1\n", "expected a mapping of keys, got list"),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_config(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)


def test_configs_have_the_same_hash_if_they_are_equal() -> None:
    one, same, other = load_config(BASELINE), load_config(BASELINE), load_config(BASELINE, ["seed=1"])
    assert config_hash(one) == config_hash(same) != config_hash(other)


def valid(config: Any) -> bool:
    return Draft202012Validator(json_schema()).is_valid(json.loads(json.dumps(config)))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_json_schema_accepts_every_config_and_no_unknown_key(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    assert valid(config)
    assert not valid(config | {"sed": 1})
    assert not valid(config | {"drift": {"methd": "psi"}})
    assert not valid(config | {"pipeline": "trainig"})


def test_in_the_json_schema_a_config_without_a_pipeline_is_one_of_training() -> None:
    config = yaml.safe_load(BASELINE.read_text())
    del config["pipeline"]
    assert valid(config)
    assert not valid(config | {"triggers": {}}), "a key of another pipeline"
    assert not valid({"window": 100}), "a report needs its pipeline key"


def test_the_json_schema_accepts_classes_that_are_numbers() -> None:
    config = yaml.safe_load((ROOT / "configs" / "simulate.yaml").read_text())
    assert valid(config | {"labels": {"flip": {0: 1}}})
    assert not valid(config | {"labels": {"flip": {"setosa": [1]}}})


def test_a_regression_is_never_stratified() -> None:
    data = {
        "model": "m",
        "task": "regression",
        "dataset": {"source": "csv", "path": "x.csv", "target": "y"},
        "train": {"estimator": "sklearn.linear_model.Ridge"},
        "evaluate": {"primary_metric": "rmse", "maximum": 3},
    }
    config = parse_config(data)
    assert config.split.stratify
    rows = pd.DataFrame({"x": range(10), "y": [0.0] * 9 + [1.0]})
    schema = Schema(features=(Field(name="x", type="number", nullable=False),), target="y", task="regression")
    train, holdout = TASKS["regression"].split(rows, schema, config.split, config.seed)
    assert (len(train), len(holdout)) == (8, 2), "a class of one row could not be split by its share"


def test_the_pipeline_names_the_kind_of_config() -> None:
    data = {
        "model": "m",
        "dataset": {"source": "sklearn", "name": "iris", "target": "species"},
        "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
        "evaluate": {"primary_metric": "f1_macro"},
    }
    assert type(parse_config(data)) is TrainingConfig
    assert type(parse_config({**data, "pipeline": "continuous_training"})) is ContinuousTrainingConfig
    with pytest.raises(ConfigError, match="unknown pipeline 'continuous'; did you mean 'continuous_training'"):
        parse_config({**data, "pipeline": "continuous"})
    with pytest.raises(ConfigError, match="unknown key 'triggers'"):
        parse_config({**data, "triggers": {}})


def test_a_column_may_have_the_name_of_a_source() -> None:
    with pytest.raises(ConfigError, match="unknown key 'dataset.columns.csv.minimun'; did you mean 'minimum'"):
        load_config(BASELINE, ["dataset.columns.csv.minimun=1"])


def test_triggers_are_off_by_default() -> None:
    triggers = load_config(LOOP, ["triggers={}"]).triggers
    assert (triggers.every_k_labels, triggers.drift, triggers.quality_drop, triggers.cron) == (None, None, None, None)


def test_a_trigger_accepts_every_metric_of_its_task() -> None:
    regression = [
        "task=regression",
        "dataset={source: sklearn, name: diabetes, target: progression}",
        "train={estimator: sklearn.linear_model.Ridge}",
        "evaluate={primary_metric: rmse}",
    ]
    for metric in ("rmse", "mae", "r2"):
        loaded = load_config(LOOP, [*regression, f"triggers.quality_drop.metric={metric}"])
        assert loaded.triggers.quality_drop.metric == metric
    with pytest.raises(ConfigError, match="unknown metric 'accuracy'"):
        load_config(LOOP, [*regression, "triggers.quality_drop.metric=accuracy"])
