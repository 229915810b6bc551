"""Fitted models, their packages and registered versions, without a pipeline."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from ratchet.config import TrainingConfig
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.files import load_config
from ratchet.data import Schema, load_dataset
from ratchet.data.fingerprint import file_sha256
from ratchet.data.row_identities import RowIdentities, data_source, identify
from ratchet.data.training_rows import TrainingRows
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.package.seal import MANIFEST, Manifest
from ratchet.model.package.sealed_package import write_package
from ratchet.model.tasks import TASKS
from ratchet.model.training import build_estimator, fit_model
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect, ensure_experiment, log_inputs, log_metrics, register
from ratchet.tracking.lineage import Lineage
from ratchet.tracking.log_run import log_package

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class Trained:
    """A config carried as far as a fitted model."""

    config: TrainingConfig
    schema: Schema
    train: pd.DataFrame
    holdout: pd.DataFrame
    model: Pipeline
    train_identities: RowIdentities
    holdout_identities: RowIdentities


def fit(config: TrainingConfig) -> Trained:
    """What the steps ingest, embed and train do, without ZenML."""
    data = load_dataset(config.dataset, config.task)
    target = data.schema.target
    parts = TASKS[config.task].split_places(data.frame, data.schema, config.split, config.seed)
    source = data_source(config.dataset, data.data_version)
    identities = [identify(rows, target, source, rows.index) for rows in parts]
    train, holdout = (rows.reset_index(drop=True) for rows in parts)
    embedder = fit_embedder(config.embed, data.schema, train, config.seed)
    features = embed(embedder, train, data.schema).to_numpy()
    estimator = build_estimator(config.train, config.task, config.seed, data.schema)
    model = fit_model(estimator, embedder, features, train[target].to_numpy())
    return Trained(config, data.schema, train, holdout, model, *identities)


def baseline(*overrides: str) -> Trained:
    """The baseline with some values overridden."""
    return fit(load_config(CONFIGS / "baseline.yaml", overrides))


def packaged(trained: Trained, folder: Path) -> tuple[Path, str]:
    """Write a model's package into a folder; the folder and the digest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        digest, _ = write_package(
            folder, trained.model, trained.train, trained.schema, TrainingRows.of(trained.train_identities)
        )
    return folder, digest


def sealed_again(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> str:
    """Change a JSON file of a package and seal the package again, as a build with a fault would; the new digest."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_text())
    files = {**manifest.files, name: file_sha256(folder / name)}
    (folder / MANIFEST).write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    return file_sha256(folder / MANIFEST)


def loop_config(*overrides: str) -> ContinuousTrainingConfig:
    """The repository's config of continuous training, with some values overridden."""
    config: ContinuousTrainingConfig = load_config(CONFIGS / "continuous_training.yaml", overrides)
    return config


def lineage_on(data_version: str) -> Lineage:
    """A lineage of a run on some data."""
    return Lineage(git_commit="", git_dirty=False, data_version=data_version, config_hash="", seed=42, versions={})


def registered(settings: Settings, name: str, trained: Trained, metrics: dict[str, float] | None = None) -> str:
    """Log a trained model with its config and figures to MLflow, register it and promote it; its version."""
    client = connect(settings)
    run = client.create_run(ensure_experiment(settings, name)).info.run_id
    log_inputs(client, run, trained.config, lineage_on("data"))
    log_metrics(client, run, metrics or {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ref = log_package(
            settings,
            run,
            name,
            trained.model,
            trained.train,
            trained.schema,
            trained.config.train.estimator,
            TrainingRows.of(trained.train_identities),
        )
    version = str(register(client, name, ref, {}).version)
    ProductionPointer(settings, name).promote(version, "a test", "tester")
    return version
