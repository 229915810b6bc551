"""A real service under load that a real Prometheus scrapes, made once for all tests that only ask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ratchet.settings import Settings
from ratchet.store.database import open_store
from tests.fitted import Trained, baseline
from tests.monitoring import prometheus
from tests.monitoring.world import KEY, World, live, under_load, until_scraped
from tests.serving.conftest import published
from tests.serving.running import serving


@pytest.fixture(scope="session")
def tools() -> None:
    """Prometheus and Alertmanager are on this machine; what needs them is skipped where they are not."""
    reason = prometheus.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def models() -> tuple[Trained, Trained]:
    """Two models of iris that answer differently, though not by much."""
    return baseline(), baseline("train.params.C=0.1")


@pytest.fixture(scope="session")
def world(tools: None, models: tuple[Trained, Trained], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with three versions behind it: promoted, rolled back, trained again by the loop; load goes on."""
    folder = tmp_path_factory.mktemp("monitored")
    settings = Settings(home=folder / "home", models_dir=folder / "models")
    settings.home.mkdir()
    pointer = published(settings, *models, models[0])
    store = open_store(settings)
    with ExitStack() as stack:
        env = {"RATCHET_API_KEYS": KEY, "RATCHET_POLL_INTERVAL": "0.5"}
        service = stack.enter_context(serving(settings, pointer.model, folder / "service.log", **env))
        target = {"ratchet": f"127.0.0.1:{service.port}"}
        scraper = stack.enter_context(prometheus.running(folder / "prometheus", target, key=KEY))
        began = time.time()
        stack.enter_context(under_load(service, folder))
        live(pointer, service, store)
        made = World(settings, pointer.model, store, service, scraper, began)
        until_scraped(made)
        yield made
    store.engine.dispose()
