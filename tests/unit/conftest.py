"""A small fitted model and an MLflow store of their own, made once."""

from __future__ import annotations

import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from ratchet import datasets
from ratchet.config import TrainingConfig, load_config
from ratchet.datasets import Schema, split_rows
from ratchet.embedding import embed, fit_embedder
from ratchet.packaging import write_package
from ratchet.settings import Settings
from ratchet.training import build_estimator, fit_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class Trained:
    """A config carried as far as a fitted model."""

    config: TrainingConfig
    schema: Schema
    train: pd.DataFrame
    holdout: pd.DataFrame
    model: Pipeline


def fit(config: TrainingConfig) -> Trained:
    """What the steps ingest, embed and train do, without ZenML."""
    data = datasets.load(config.dataset, config.task)
    target = data.schema.target
    train, holdout = split_rows(
        data.frame, target, config.split.test_size, config.seed, stratify=config.split.keeps_shares(config.task)
    )
    embedder = fit_embedder(config.embed, data.schema, train, config.seed)
    features = embed(embedder, train, data.schema).to_numpy()
    estimator = build_estimator(config.train, config.task, config.seed)
    return Trained(
        config, data.schema, train, holdout, fit_model(estimator, embedder, features, train[target].to_numpy())
    )


def baseline(*overrides: str) -> Trained:
    """The baseline with some values overridden."""
    return fit(load_config(CONFIGS / "baseline.yaml", overrides))


@pytest.fixture(scope="session")
def iris() -> Trained:
    """The baseline on iris."""
    return baseline()


@pytest.fixture(scope="session")
def diabetes() -> Trained:
    """A ridge regression on diabetes."""
    return baseline(
        "task=regression",
        "dataset={source: sklearn, name: diabetes, target: progression}",
        "train={estimator: sklearn.linear_model.Ridge}",
        "evaluate={primary_metric: rmse, maximum: 70}",
    )


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Numbers and categories with gaps in both, read from a CSV."""
    generator = np.random.default_rng(0)
    age = generator.uniform(18, 80, 200).round(1)
    plan = generator.choice(["basic", "plus", "pro"], 200)
    rows = pd.DataFrame({"age": age, "plan": plan, "left": np.where((age > 50) ^ (plan == "pro"), "yes", "no")})
    rows.loc[::17, "age"] = np.nan
    rows.loc[::23, "plan"] = np.nan
    path = tmp_path_factory.mktemp("mixed") / "churn.csv"
    rows.to_csv(path, index=False)
    return baseline(f"dataset={{source: csv, path: {path}, target: left}}", "embed={reducer: none}")


@pytest.fixture(scope="session")
def iris_package(iris: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The baseline's package and its digest; copy it before damaging it."""
    folder = tmp_path_factory.mktemp("package") / "iris"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        digest, _ = write_package(folder, iris.model, iris.train, iris.schema)
    return folder, digest


@pytest.fixture(scope="session")
def mlflow_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A real MLflow store that only unit tests use; every test takes a model name of its own."""
    home = tmp_path_factory.mktemp("mlflow")
    return Settings(home=home, models_dir=home / "models")


@pytest.fixture
def model_name(request: pytest.FixtureRequest) -> Any:
    """A registered model's name that no other test has."""
    return f"m_{request.node.originalname[:60]}_{uuid.uuid4().hex[:6]}"
