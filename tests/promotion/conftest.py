"""Real registries and stores that several processes share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchet.settings import Settings
from ratchet.tracking import DIGEST_TAG, connect
from tests.conftest import new_database

Make = Callable[[int], tuple[Settings, str]]


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("promotion")
    return Settings(home=home, models_dir=home / "models")


@pytest.fixture(scope="session")
def on_postgresql(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Both MLflow and Ratchet's store on PostgreSQL, each in a database of its own."""
    return Settings(
        home=tmp_path_factory.mktemp("pg"),
        mlflow_uri=new_database(postgres, "mlflow"),
        database_url=new_database(postgres, "ratchet"),
    )


def register(settings: Settings, versions: int) -> str:
    """A new model with that many versions, none promoted."""
    client, model = connect(settings), f"m_{uuid.uuid4().hex[:8]}"
    client.create_registered_model(model)
    for _ in range(versions):
        client.create_model_version(model, Path(settings.home / "none").as_uri(), tags={DIGEST_TAG: "d"})
    return model
