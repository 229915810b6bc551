"""What tests of pipelines share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ratchet.settings import Settings
from ratchet.store.database import open_store
from tests.pipelines.desk import Desk
from tests.training_runs import config_for


@pytest.fixture
def desk(settings: Settings, tmp_path: Path, model: str) -> Iterator[Desk]:
    """The registry is the session's; the store, the home and the processes are this test's."""
    own = settings.model_copy(
        update={
            "home": tmp_path,
            "mlflow_uri": settings.tracking_uri,
            "database_url": Settings(home=tmp_path).store_url,
        }
    )
    config: Any = config_for(model, name="continuous_training")
    made = Desk(own, config, open_store(own))
    yield made
    for watcher in made.watchers:
        watcher.stop()
    made.store.engine.dispose()
