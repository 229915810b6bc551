"""Model versions in ZenML: MLflow's number with a ``v``, the same stage, and the artifacts of the run.

ZenML refuses plain numbers as names of versions, hence the ``v``.
"""

from __future__ import annotations

from zenml import get_step_context, log_metadata
from zenml.client import Client
from zenml.enums import ModelStages
from zenml.model.utils import link_artifact_version_to_model_version
from zenml.models import ModelVersionResponse

from ratchet.model.evaluation import Evaluation
from ratchet.registry.promote_challenger import Promotion
from ratchet.tracking import PackageRef


class ZenMLStage:
    """ZenML's stage ``production``, a mirror of MLflow's stage."""

    name = "ZenML"

    def read(self, model: str) -> str | None:
        """Return MLflow's number of the version that ZenML has in production."""
        try:
            name = Client().get_model_version(model, ModelStages.PRODUCTION).name
        except KeyError:
            return None
        return name.removeprefix("v") if name else None

    def write(self, model: str, version: str) -> None:
        """Set the version that ZenML has in production, and archive the previous one."""
        _version(Client(), model, version).set_stage(ModelStages.PRODUCTION, force=True)


def link_version(model: str, promotion: Promotion, package: PackageRef, evaluation: Evaluation) -> None:
    """Create ZenML's version ``v<number>`` of a model, with its package, metrics and the artifacts of this run."""
    version = _version(Client(), model, promotion.version)
    if "mlflow_run_id" not in version.run_metadata:
        _link_artifacts(version)
        log_metadata(
            metadata={
                "mlflow_model_version": promotion.version,
                "mlflow_run_id": package.run_id,
                "mlflow_model_uri": package.uri,
                "package_digest": package.digest,
                "metrics": evaluation.metrics,
            },
            model_version_id=version.id,
        )


def _version(client: Client, model: str, number: str) -> ModelVersionResponse:
    try:
        client.get_model(model)
    except KeyError:
        client.create_model(model, save_models_to_registry=False)
    try:
        return client.get_model_version(model, f"v{number}")
    except KeyError:
        return client.create_model_version(model, f"v{number}")


def _link_artifacts(version: ModelVersionResponse) -> None:
    """Link the artifacts of the finished steps to the version, which the model's page then shows."""
    for step in get_step_context().pipeline_run.steps.values():
        for artifacts in step.outputs.values():
            for artifact in artifacts:
                link_artifact_version_to_model_version(artifact, version)
