from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import unquote, urlsplit

import mlflow
import pytest
from mlflow import MlflowClient
from pydantic import BaseModel
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from ratchet.config import TrainingConfig
from ratchet.config.files import PIPELINES
from ratchet.errors import RegistryError
from ratchet.model.package.sealed_package import verify_package
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import (
    DIGEST_TAG,
    PackageRef,
    RunRecord,
    active_run_id,
    connect,
    download,
    ensure_experiment,
    log_metrics,
    register,
)
from ratchet.tracking.autologging import autologged
from ratchet.tracking.keys import column_key, config_params, flat, separate_params
from ratchet.tracking.lineage import whole_lineage
from ratchet.tracking.log_run import log_package
from ratchet.tracking.run_files import text_files
from ratchet.tracking.runs import log_missing_origin
from tests.fitted import Trained, lineage_on, registered


@pytest.fixture
def client(mlflow_settings: Settings) -> MlflowClient:
    return connect(mlflow_settings)


def log(settings: Settings, name: str, trained: Trained) -> PackageRef:
    client = connect(settings)
    run = client.create_run(ensure_experiment(settings, name)).info.run_id
    return log_package(
        settings, run, name, trained.model, trained.train, trained.schema, trained.config.train.estimator
    )


def test_an_experiment_has_the_artifact_location_of_the_settings(mlflow_settings: Settings, model_name: str) -> None:
    first = ensure_experiment(mlflow_settings, model_name)
    assert ensure_experiment(mlflow_settings, model_name) == first
    location = connect(mlflow_settings).get_experiment(first).artifact_location
    assert location == f"{mlflow_settings.mlflow_artifacts}/{model_name}"


def test_an_experiment_is_one_of_classic_training_and_an_earlier_one_becomes_one(
    mlflow_settings: Settings, client: MlflowClient, model_name: str
) -> None:
    former = client.create_experiment(model_name)
    chosen = client.create_experiment(f"{model_name}_chosen", tags={"mlflow.experimentKind": "genai_development"})
    assert ensure_experiment(mlflow_settings, model_name) == former
    assert ensure_experiment(mlflow_settings, f"{model_name}_chosen") == chosen
    new = ensure_experiment(mlflow_settings, f"{model_name}_new", "A note")
    kinds = [client.get_experiment(found).tags["mlflow.experimentKind"] for found in (former, chosen, new)]
    assert kinds == ["custom_model_development", "genai_development", "custom_model_development"]
    assert client.get_experiment(new).tags["mlflow.note.content"] == "A note"


def test_a_logged_model_is_shown_among_the_artifacts_of_its_run(
    mlflow_settings: Settings, client: MlflowClient, model_name: str, iris: Trained
) -> None:
    package = log(mlflow_settings, model_name, iris)
    own = Path(unquote(urlsplit(client.get_run(package.run_id).info.artifact_uri).path), model_name)
    assert {file.name for file in own.iterdir()} == {"MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml"}
    assert [*text_files(mlflow_settings, model_name)] == [], "the rows in the package are no files of the run"
    (described,) = json.loads(client.get_run(package.run_id).data.tags["mlflow.log-model.history"])
    assert (described["artifact_path"], set(described["flavors"])) == (model_name, {"sklearn", "python_function"})
    loaded: Any = mlflow.pyfunc.load_model(f"runs:/{package.run_id}/{model_name}")
    assert (loaded.predict(iris.holdout) == iris.model.predict(iris.schema.select(iris.holdout))).all()


def test_the_run_that_trained_a_model_gets_config_and_lineage_if_it_failed_before_it_logged_them(
    mlflow_settings: Settings, client: MlflowClient, model_name: str, iris: Trained
) -> None:
    run = client.create_run(ensure_experiment(mlflow_settings, model_name)).info.run_id
    with pytest.raises(RegistryError, match=f"{run}/artifacts/lineage.json cannot be read"):
        whole_lineage(mlflow_settings, run, {})
    log_missing_origin(client, run, iris.config, lineage_on("first"))
    log_missing_origin(client, run, iris.config, lineage_on("second"))
    found = whole_lineage(mlflow_settings, run, {"ratchet.version.numpy": "0"})
    assert (found["data_version"], found["version.numpy"]) == ("first", "0"), "a tag has precedence"


@pytest.mark.parametrize("enabled", [True, False])
def test_fits_are_logged_by_mlflow_inside_the_block_where_the_config_asks_for_it(
    mlflow_settings: Settings, client: MlflowClient, model_name: str, enabled: bool
) -> None:
    features, target = load_iris(return_X_y=True)
    mlflow.sklearn.autolog(disable=True)  # as ZenML does after each step
    with mlflow.start_run(experiment_id=ensure_experiment(mlflow_settings, model_name)) as run:
        with autologged(enabled=enabled):
            LogisticRegression(C=0.5, max_iter=500).fit(features, target)
        LogisticRegression(C=0.1, max_iter=500).fit(features, target)
    logged = client.get_run(run.info.run_id)
    assert logged.data.params.get("C") == ("0.5" if enabled else None)
    assert ("training_accuracy_score" in logged.data.metrics) is enabled
    assert not client.search_logged_models([logged.info.experiment_id])
    record = RunRecord(name="", experiment="", metrics=logged.data.metrics | {"f1_macro": 1}, dataset=None, config=None)
    assert record.quality == {"f1_macro": 1}


def test_a_deleted_experiment_raises(mlflow_settings: Settings, client: MlflowClient, model_name: str) -> None:
    client.delete_experiment(ensure_experiment(mlflow_settings, model_name))
    with pytest.raises(RegistryError, match="is deleted: restore it"):
        ensure_experiment(mlflow_settings, model_name)


def test_a_package_is_registered_once(
    mlflow_settings: Settings, client: MlflowClient, model_name: str, iris: Trained
) -> None:
    package = log(mlflow_settings, model_name, iris)
    first = register(client, model_name, package, {"ratchet.seed": "42"})
    again = register(client, model_name, package, {})
    assert first.version == again.version
    assert again.tags == {DIGEST_TAG: package.digest, "ratchet.seed": "42"}
    assert client.get_logged_model(package.model_id).status == "READY"


def test_a_missing_package_raises(client: MlflowClient, model_name: str) -> None:
    gone = PackageRef(model_id="m-gone", run_id="r", digest="d", onnx=False)
    with pytest.raises(RegistryError, match="no longer in MLflow: run with --no-cache"):
        register(client, model_name, gone, {})


def test_a_fetched_version_reproduces_its_golden_predictions(
    mlflow_settings: Settings, model_name: str, iris: Trained
) -> None:
    version = ProductionPointer(mlflow_settings, model_name).get(registered(mlflow_settings, model_name, iris))
    package = fetch_package(mlflow_settings, version)
    verify_package(package)
    assert package.digest == version.digest


def test_missing_artifacts_raise(
    mlflow_settings: Settings, client: MlflowClient, model_name: str, tmp_path: Path
) -> None:
    client.create_registered_model(model_name)
    version = client.create_model_version(model_name, (tmp_path / "nowhere").as_uri())
    with pytest.raises(RegistryError, match=r"the artifacts of .* version 1 cannot be read"):
        download(mlflow_settings, model_name, str(version.version), tmp_path)


def test_a_step_without_a_tracker_raises() -> None:
    with pytest.raises(RegistryError, match="add an MLflow experiment tracker"):
        active_run_id()


def test_nested_values_are_flattened() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}


HOSTILE = ("x" * 500, "a/b", 'he "said"', "two\nlines", "😀", "label", "..", "100 %", "{date}", "")


def test_a_column_has_a_short_key_that_depends_on_its_name_alone() -> None:
    keys = [column_key(name) for name in (*HOSTILE, "age", "Age")]
    assert len({key.lower() for key in keys}) == len(keys)
    assert all(re.fullmatch(r"c_[0-9a-f]{10}", key) for key in keys)
    assert column_key("sepal_width") == "c_6495e61cce"


def test_a_run_takes_more_metrics_than_mlflow_takes_in_one_call(
    mlflow_settings: Settings, client: MlflowClient, model_name: str
) -> None:
    run = client.create_run(ensure_experiment(mlflow_settings, model_name)).info.run_id
    log_metrics(client, run, {f"drift.{column_key(str(at))}": float(at) for at in range(1200)})
    assert len(client.get_run(run).data.metrics) == 1200


def mappings_of(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys of a config's model that take a mapping with any keys."""
    for name, field in section.model_fields.items():
        todo: list[Any] = [field.annotation]
        while todo:
            kind = todo.pop()
            if get_origin(kind) is dict:
                yield f"{prefix}{name}"
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from mappings_of(kind, f"{prefix}{name}.")
            else:
                todo += get_args(kind)


@pytest.mark.parametrize("kind", ["training", "continuous_training", "tuning"])
def test_every_mapping_of_a_config_with_keys_of_a_user_is_one_parameter(kind: str) -> None:
    # Their keys are names of hyper-parameters, which the estimator or Optuna checks, and keys of the config.
    checked = {"train.params", "search.space", "search.sampler.params", "search.pruner.params"}
    for key in set(mappings_of(PIPELINES[kind])) - checked:
        assert flat({key: {"x": 1}}) == {key: {"x": 1}}


def test_names_of_columns_and_labels_are_in_no_parameter_key(iris: Trained) -> None:
    values = iris.config.model_dump(mode="json")
    values["dataset"]["columns"] = {name: {"minimum": 0.0} for name in HOSTILE}
    values["train"]["params"] = {"class_weight": dict.fromkeys(HOSTILE, 2.0)}
    params = config_params(TrainingConfig.model_validate(values))
    assert not [key for key in params if not re.fullmatch(r"[a-z_.C]{1,60}", key)]
    assert params["train.params.class_weight"] == json.dumps(dict.fromkeys(HOSTILE, 2.0))


def test_runs_are_compared_with_those_from_before_sections_were_one_parameter(iris: Trained) -> None:
    values = iris.config.model_dump(mode="json")
    values["dataset"]["columns"] = {"a.b": {"type": "number"}}
    values["train"]["params"] = {"C": 1.0, "class_weight": {"0": 1, "1": 5}}
    before = {key: str(value) for key, value in flat(values, whole=False).items()}
    assert separate_params(before) == before
    now = separate_params(config_params(TrainingConfig.model_validate(values)))
    assert {key: now[key] for key in before if key != "dataset.columns.a.b.type"}.items() <= now.items()
    assert now["train.params.class_weight.1"] == before["train.params.class_weight.1"] == "5"
