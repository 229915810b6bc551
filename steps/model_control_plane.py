"""Model versions in ZenML: MLflow's number with a ``v``, the same stage, and the artifacts of the run.

ZenML refuses plain numbers as names of versions, hence the ``v``. Its client takes a name for a prefix of a name or an
id where no entity has exactly that name; models are therefore searched by their whole name and then used by their id.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from zenml import log_metadata
from zenml.client import Client
from zenml.enums import ModelStages
from zenml.exceptions import EntityExistsError
from zenml.model.utils import link_artifact_version_to_model_version
from zenml.models import ModelVersionResponse

from ratchet.registry.model_version import from_mlflow
from ratchet.settings import Settings
from ratchet.tracking import connect, reachable, run_record
from ratchet.tracking.lineage import whole_lineage


class ZenMLStage:
    """ZenML's stage ``production``, a mirror of MLflow's stage."""

    name = "ZenML"
    of_one_home = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self, model: str) -> str | None:
        """Return MLflow's number of the version that ZenML has in production."""
        found = _find_model(Client(), model)
        if found is None:
            return None
        try:
            name = Client().get_model_version(found, ModelStages.PRODUCTION).name
        except KeyError:
            return None
        return name.removeprefix("v") if name else None

    def write(self, model: str, version: str) -> None:
        """Set the version that ZenML has in production, and archive the previous one."""
        self.describe(model, version).set_stage(ModelStages.PRODUCTION, force=True)

    def describe(self, model: str, number: str) -> ModelVersionResponse:
        """Create ZenML's version ``v<number>`` of a model, with its package, metrics and the artifacts of its run."""
        version = _version(Client(), model, number)
        if "mlflow_run_id" not in version.run_metadata:
            with reachable(self._settings):
                registered = connect(self._settings).get_model_version(model, number)
            described = from_mlflow(registered)
            _link_artifacts(version, whole_lineage(self._settings, described.run_id, described.tags))
            log_metadata(
                metadata={
                    "mlflow_model_version": number,
                    "mlflow_run_id": described.run_id,
                    "mlflow_model_uri": registered.source or "",
                    "package_digest": described.digest,
                    "metrics": run_record(self._settings, described.run_id).quality,
                },
                model_version_id=version.id,
            )
        return version


def _find_model(client: Client, name: str) -> UUID | None:
    found = client.list_models(name=f"equals:{name}").items
    return next((model.id for model in found if model.name == name), None)


def _version(client: Client, model: str, number: str) -> ModelVersionResponse:
    found = _find_model(client, model)
    if found is None:
        with suppress(EntityExistsError):  # another process created it meanwhile
            client.create_model(model, save_models_to_registry=False)
    known = found or _find_model(client, model) or model
    try:
        return client.get_model_version(known, f"v{number}")
    except KeyError:
        return client.create_model_version(known, f"v{number}")


def _link_artifacts(version: ModelVersionResponse, lineage: dict[str, str]) -> None:
    """Link the artifacts of the finished steps to the version, which the model's page then shows."""
    try:
        run = Client().get_pipeline_run(UUID(lineage.get("zenml_run_id", "")))
    except (KeyError, ValueError):  # it was trained by another machine, whose ZenML has the artifacts
        return
    for step in run.steps.values():
        for artifacts in step.outputs.values():
            for artifact in artifacts:
                link_artifact_version_to_model_version(artifact, version)
