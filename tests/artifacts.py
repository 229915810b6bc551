"""What befalls artifacts behind MLflow's back, wherever they are kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ratchet.settings import Settings
from ratchet.tracking import connect


def of_model(settings: Settings, model_id: str) -> Any:
    """The place of a logged model's files, as MLflow's own repository of artifacts."""
    return _at(connect(settings).get_logged_model(model_id).artifact_location)


def of_run(settings: Settings, run_id: str) -> Any:
    """The place of a run's files."""
    return _at(connect(settings).get_run(run_id).info.artifact_uri)


def overwrite(place: Any, name: str, text: str) -> None:
    """Put another file in a file's place."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_text(text)
        place.log_artifact(str(file))


@contextmanager
def gone(place: Any) -> Iterator[None]:
    """A place without its files until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        place.download_artifacts("", folder)
        names = [item.path for item in place.list_artifacts()]
        for name in names:
            place.delete_artifacts(name)
        try:
            yield
        finally:
            place.log_artifacts(folder)


def _at(uri: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri)
