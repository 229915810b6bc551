"""Reads of MLflow through its client."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ratchet.tracking.connection import all_pages, connect, quoted, reachable
from ratchet.tracking.reader import RegisteredVersion, StoredRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ratchet.settings import Settings

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class ClientReader:
    """A reader for servers, and for databases that only MLflow itself knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _client(self) -> MlflowClient:
        return connect(self._settings)

    def registered_models(self) -> list[str]:
        """Return the names of all registered models, sorted."""
        with reachable(self._settings):
            found = all_pages(lambda token: self._client.search_registered_models(page_token=token))
        return sorted(model.name for model in found)

    def versions(self, model: str) -> list[RegisteredVersion]:
        """Return all versions of a model, lowest first; none where there is no such model."""
        with reachable(self._settings):
            named = f"name = {quoted(model)}"
            found = all_pages(lambda token: self._client.search_model_versions(named, page_token=token))
        return sorted((self._version(each) for each in found), key=lambda each: int(each.version))

    def version(self, model: str, number: str) -> RegisteredVersion | None:
        """Return one version; None where it does not exist, or was deleted."""
        found = self._if_any(lambda client: client.get_model_version(model, number))
        return None if found is None else self._version(found)

    def location(self, model: str, number: str) -> str | None:
        """Return the URI of a version's artifacts; None where it does not exist, or was deleted."""
        found = self._if_any(lambda client: client.get_model_version_download_uri(model, number))
        return None if found is None else str(found)

    def aliased(self, model: str, alias: str) -> str | None:
        """Return the number of the version that has an alias; None without one."""
        found = self._if_any(lambda client: client.get_model_version_by_alias(model, alias))
        return None if found is None else str(found.version)

    def run(self, run_id: str) -> StoredRun | None:
        """Return a run, also a deleted one; None where it does not exist."""
        run = self._if_any(lambda client: client.get_run(run_id))
        if run is None:
            return None
        with reachable(self._settings):
            experiment = self._client.get_experiment(run.info.experiment_id).name
        return StoredRun(
            run_id=run_id,
            name=run.info.run_name or run_id,
            experiment=experiment,
            artifact_uri=run.info.artifact_uri,
            metrics=dict(run.data.metrics),
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            datasets=tuple(each.dataset.name for each in (run.inputs.dataset_inputs if run.inputs else ())),
        )

    def _version(self, found: Any) -> RegisteredVersion:
        return RegisteredVersion(
            name=found.name,
            version=str(found.version),
            run_id=found.run_id,
            current_stage=found.current_stage,
            creation_timestamp=found.creation_timestamp,
            tags=dict(found.tags),
        )

    def _if_any(self, read: Any) -> Any:
        from mlflow.exceptions import MlflowException

        with reachable(self._settings):
            try:
                return read(self._client)
            except MlflowException as error:
                if error.error_code in _ABSENT:
                    return None
                raise
