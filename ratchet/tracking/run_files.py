"""The small text files that runs logged to MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from ratchet.settings import Settings
from ratchet.tracking.connection import all_pages, comparisons_of, connect, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TEXTS = (".json", ".html", ".csv")


@dataclass(frozen=True)
class RunFile:
    """A file that a run logged."""

    client: MlflowClient
    run_id: str
    path: str

    def read(self) -> str:
        """Return the content."""
        with tempfile.TemporaryDirectory(prefix="ratchet-") as folder:
            return Path(self.client.download_artifacts(self.run_id, self.path, folder)).read_text(encoding="utf-8")

    def delete(self) -> None:
        """Delete the file; the run stays."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        artifacts: Any = get_artifact_repository(self.client.get_run(self.run_id).info.artifact_uri)
        artifacts.delete_artifacts(self.path)


def text_files(settings: Settings, model: str) -> Iterator[RunFile]:
    """Yield the text files that a model's runs and comparisons logged, also those of deleted runs.

    Raises
    ------
    RegistryError: MLflow is unreachable.
    """
    from mlflow.entities import ViewType

    client = connect(settings)
    with reachable(settings):
        found = map(client.get_experiment_by_name, (model, comparisons_of(model)))
        ids = [experiment.experiment_id for experiment in found if experiment is not None]
        runs = all_pages(
            lambda token: client.search_runs(ids, run_view_type=ViewType.ALL, max_results=1000, page_token=token)
        )
        for run in runs if ids else ():
            for path in _files(run.info.artifact_uri):
                if PurePosixPath(path).suffix in _TEXTS:
                    yield RunFile(client, run.info.run_id, path)


def _files(artifacts: str, folder: str | None = None) -> Iterator[str]:
    """Yield the files of a run; MLflow's client would list the files of its logged model with them."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        found = get_artifact_repository(artifacts).list_artifacts(folder)
    except (MlflowException, OSError):  # the artifacts of a deleted run can be gone
        return
    for file in found:
        if file.is_dir:
            yield from _files(artifacts, file.path)
        else:
            yield file.path
