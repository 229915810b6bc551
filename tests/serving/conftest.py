"""Registered models, and a service for the tests that do not change it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.registry.fetch_package import production_pointer
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.tracking import connect, ensure_experiment, register
from ratchet.tracking.log_run import log_package
from tests.conftest import new_database
from tests.fitted import Trained, baseline
from tests.homes import prepared
from tests.serving.running import Service, serving

# Of the service with keys.
KEYS = ("first-key-9f2c71ab04", "second-key-de68b35a7c")
SECRET = "signs-links-5d07f2e9ab"
ALLOWED = "https://app.example.com"


@pytest.fixture(scope="session")
def served_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a real MLflow store and Ratchet's own, both on SQLite."""
    home = prepared(tmp_path_factory.mktemp("served"))
    return Settings(home=home, models_dir=home / "models")


@pytest.fixture(scope="session")
def store(served_settings: Settings) -> Iterator[Store]:
    """Ratchet's store of the service."""
    store = open_store(served_settings)
    yield store
    store.engine.dispose()


@pytest.fixture(scope="session")
def served_on_postgresql(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """MLflow on SQLite, Ratchet's own store on PostgreSQL."""
    home = tmp_path_factory.mktemp("served-pg")
    return Settings(home=home, models_dir=home / "models", database_url=new_database(postgres, "served"))


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """A home whose store is on either database."""
    name = "served_settings" if request.param == "sqlite" else "served_on_postgresql"
    found: Settings = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="session")
def iris_models() -> tuple[Trained, Trained]:
    """Two models of iris that predict slightly different probabilities."""
    return baseline(), baseline("train.params.C=0.1")


def publish(settings: Settings, model: str, trained: Trained) -> str:
    """Log and register a package, and return its version."""
    client = connect(settings)
    run = client.create_run(ensure_experiment(settings, model)).info.run_id
    package = log_package(settings, run, model, trained.model, trained.train, trained.schema, "x")
    return str(register(client, model, package, {}).version)


def published(settings: Settings, *models: Trained) -> ProductionPointer:
    """Register a new model with these versions, and promote the first one."""
    name = f"m_{uuid.uuid4().hex[:8]}"
    for trained in models:
        publish(settings, name, trained)
    pointer = production_pointer(settings, name)
    pointer.promote("1", "first", "test")
    return pointer


@pytest.fixture(scope="session")
def service(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The baseline, served by ``python run.py serve``; tests do not change it."""
    pointer = published(served_settings, iris_models[0])
    output = tmp_path_factory.mktemp("service") / "output"
    with serving(served_settings, pointer.model, output) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(
    served_settings: Settings, iris_models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service in production with two keys and one origin; tests do not change it."""
    pointer = published(served_settings, iris_models[0])
    output = tmp_path_factory.mktemp("guarded") / "output"
    variables = {"RATCHET_API_KEYS": ",".join(KEYS), "RATCHET_CORS_ORIGINS": ALLOWED, "RATCHET_LINK_SECRET": SECRET}
    variables["RATCHET_TRUSTED_PROXIES"] = "127.0.0.0/8"
    with serving(served_settings, pointer.model, output, RATCHET_ENV="production", **variables) as running:
        yield running


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A file for the output of a service."""
    return tmp_path / "output"
