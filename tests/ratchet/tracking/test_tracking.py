from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from ratchet.errors import RegistryError
from ratchet.model.package.sealed_package import verify_package
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import (
    DIGEST_TAG,
    PackageRef,
    active_run_id,
    connect,
    download,
    ensure_experiment,
    register,
)
from ratchet.tracking.log_run import log_package
from ratchet.tracking.runs import flat
from tests.fitted import Trained, registered


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
        download(client, model_name, version.version, tmp_path)


def test_a_step_without_a_tracker_raises() -> None:
    with pytest.raises(RegistryError, match="add an MLflow experiment tracker"):
        active_run_id()


def test_nested_values_are_flattened() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
