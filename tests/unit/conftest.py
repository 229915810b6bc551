"""A small fitted model and an MLflow store of their own, made once."""

from __future__ import annotations

import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from sklearn.pipeline import Pipeline

from ratchet.config import TrainingConfig
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.files import load_config
from ratchet.data import Schema, load_dataset
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.package.sealed_package import write_package
from ratchet.model.tasks import TASKS
from ratchet.model.training import build_estimator, fit_model
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction
from ratchet.store.tables import metadata
from ratchet.tracking import connect, ensure_experiment, log_inputs, log_metrics, register
from ratchet.tracking.log_package import log_packaged
from tests import services
from tests.conftest import new_database

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
    data = load_dataset(config.dataset, config.task)
    target = data.schema.target
    train, holdout = TASKS[config.task].split(data.frame, data.schema, config.split, config.seed)
    embedder = fit_embedder(config.embed, data.schema, train, config.seed)
    features = embed(embedder, train, data.schema).to_numpy()
    estimator = build_estimator(config.train, config.task, config.seed, data.schema)
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
    return packaged(iris, tmp_path_factory.mktemp("package") / "iris")


@pytest.fixture(scope="session")
def mixed_package(mixed: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The package of a model that takes categories, and its digest."""
    return packaged(mixed, tmp_path_factory.mktemp("package") / "mixed")


@pytest.fixture(scope="session")
def diabetes_package(diabetes: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The package of a regression, and its digest."""
    return packaged(diabetes, tmp_path_factory.mktemp("package") / "diabetes")


def packaged(trained: Trained, folder: Path) -> tuple[Path, str]:
    """Write a model's package into a folder; the folder and the digest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        digest, _ = write_package(folder, trained.model, trained.train, trained.schema)
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


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, on both kinds of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    name = "u_" + re.sub(r"\W", "_", request.node.name.lower())[:50]
    return new_database(request.getfixturevalue("postgres"), name)


def prediction(number: int, **changes: Any) -> Prediction:
    """A row of the table of predictions."""
    row: Any = {
        "id": f"{number:036d}",
        "created_at": 1_700_000_000.25 + number,
        "model": "iris",
        "version": "3",
        "features": {"sepal_length": 5.1, "colour": "blue"},
        "prediction": "setosa",
        "score": 0.75,
        "probabilities": {"setosa": 0.75, "virginica": 0.25},
        "latency": 0.002,
    }
    return row | changes


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def shared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store in a file, made once."""
    made = Store(f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db")
    yield made
    made.engine.dispose()


@pytest.fixture(scope="session")
def shared_postgresql(postgres: str) -> Iterator[Store]:
    """A store on PostgreSQL, made once."""
    made = Store(new_database(postgres, "shared"))
    yield made
    made.engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store without a row, on both kinds of database; making one for each test would cost the most of its time."""
    return emptied(request.getfixturevalue(f"shared_{request.param}"))


@pytest.fixture
def any_store(request: pytest.FixtureRequest) -> Store:
    """A store without a row, for what does not depend on the kind of database."""
    return emptied(request.getfixturevalue("shared_postgresql" if services.in_use() else "shared_sqlite"))


def emptied(store: Store) -> Store:
    """The store without its rows; its counters go on."""
    with store.transaction() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.delete(table))
    return store


def url_of(store: Store) -> str:
    """What opens the same store again, here or in another process."""
    return store.engine.url.render_as_string(hide_password=False)


def loop_config(*overrides: str) -> ContinuousTrainingConfig:
    """The repository's config of continuous training, with some values overridden."""
    config: ContinuousTrainingConfig = load_config(CONFIGS / "continuous_training.yaml", overrides)
    return config


def registered(settings: Settings, name: str, trained: Trained, metrics: dict[str, float] | None = None) -> str:
    """Log a trained model with its config and figures to MLflow, register it and promote it; its version."""
    client = connect(settings)
    run = client.create_run(ensure_experiment(settings, name)).info.run_id
    log_inputs(client, run, trained.config, {}, "data")
    log_metrics(client, run, metrics or {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ref = log_packaged(
            settings, run, name, trained.model, trained.train, trained.schema, trained.config.train.estimator
        )
    version = str(register(client, name, ref, {}).version)
    ProductionPointer(settings, name).promote(version, "a test", "tester")
    return version
