"""The training rows of a version, from its run and its tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ratchet.config.files import load_config, parse_config
from ratchet.data import dataset_version
from ratchet.errors import DataError, RegistryError
from ratchet.loop.snapshots import build_snapshot
from ratchet.monitoring.reports.version_rows import training_rows
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.tracking import connect, ensure_experiment, log_inputs
from tests.fitted import CONFIGS, Trained, lineage_on


def registered(settings: Settings, config: Any, **tags: str) -> Version:
    """Return a version whose run has this config."""
    client = connect(settings)
    run = client.create_run(ensure_experiment(settings, config.model)).info.run_id
    log_inputs(client, run, config, lineage_on("data"))
    return Version(config.model, "1", run, "digest", "Production", {f"ratchet.{key}": tag for key, tag in tags.items()})


def test_the_rows_of_a_training_run_are_its_split(iris: Trained, mlflow_settings: Settings) -> None:
    version = registered(mlflow_settings, iris.config, data_version=dataset_version(iris.config.dataset))
    train, holdout = training_rows(mlflow_settings, version)
    assert train.equals(iris.train)
    assert holdout.equals(iris.holdout)


def test_the_rows_of_continuous_training_are_those_of_its_snapshot(mlflow_settings: Settings) -> None:
    config = parse_config(
        load_config(CONFIGS / "baseline.yaml").model_dump(mode="json") | {"pipeline": "continuous_training"}
    )
    store: Store = open_store(mlflow_settings)
    snapshot = build_snapshot(mlflow_settings, config, store, 0)
    train, holdout = training_rows(mlflow_settings, registered(mlflow_settings, config, snapshot=snapshot.version))
    assert (len(train), len(holdout)) == (snapshot.reference_train, snapshot.reference_holdout)


def test_a_changed_data_set_raises(mlflow_settings: Settings, iris: Trained, tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    iris.train.to_csv(path, index=False)
    config = load_config(CONFIGS / "baseline.yaml", [f"dataset={{source: csv, path: {path}, target: species}}"])
    version = registered(mlflow_settings, config, data_version=dataset_version(config.dataset))
    iris.holdout.to_csv(path, index=False)
    with pytest.raises(DataError, match="iris version 1 was trained on data .* restore the old file, or train again"):
        training_rows(mlflow_settings, version)


def test_a_version_without_a_config_raises(mlflow_settings: Settings, model_name: str) -> None:
    client = connect(mlflow_settings)
    run = client.create_run(ensure_experiment(mlflow_settings, model_name)).info.run_id
    client.log_text(run, "{}", "config.yaml")
    with pytest.raises(RegistryError, match="version 1 has no config in its run"):
        training_rows(mlflow_settings, Version(model_name, "1", run, "digest", "None"))
