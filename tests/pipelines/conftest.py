"""Fixtures of the pipelines' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ratchet.settings import Settings
from ratchet.store.database import open_store
from tests.pipelines.watched_model import WatchedModel
from tests.training_runs import config_for


@pytest.fixture
def watched(settings: Settings, tmp_path: Path, model: str) -> Iterator[WatchedModel]:
    """A model in the session's registry, with the test's own store, home and processes."""
    own = settings.model_copy(
        update={
            "home": tmp_path,
            "mlflow_uri": settings.tracking_uri,
            "database_url": Settings(home=tmp_path).store_url,
        }
    )
    config: Any = config_for(model, name="continuous_training")
    made = WatchedModel(own, config, open_store(own))
    yield made
    for watcher in made.watchers:
        watcher.stop()
    made.store.engine.dispose()
