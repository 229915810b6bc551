"""A small fitted model and an MLflow store of their own, made once."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.settings import Settings
from ratchet.store.database import Store
from tests import services
from tests.conftest import new_database
from tests.fitted import Trained, baseline, packaged
from tests.homes import prepared
from tests.store_rows import emptied


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests."""
    return "asyncio"


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


@pytest.fixture(scope="session")
def mlflow_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A real MLflow store that only unit tests use; every test takes a model name of its own."""
    home = prepared(tmp_path_factory.mktemp("mlflow"))
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
