"""ZenML's view of a model version: MLflow's number behind a ``v``, the same stage, and the run's artifacts.

ZenML keeps plain numbers to itself ("custom numeric model version name" is refused), hence the ``v``.
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
    """ZenML's stage ``production`` as a mirror of what is in Production."""

    name = "ZenML"

    def read(self, model: str) -> str | None:
        """MLflow's number of the version that ZenML shows in production."""
        try:
            return Client().get_model_version(model, ModelStages.PRODUCTION).name.removeprefix("v")
        except KeyError:
            return None

    def write(self, model: str, version: str) -> None:
        """Put ZenML's version into production, and archive the one that was there."""
        _version(Client(), model, version).set_stage(ModelStages.PRODUCTION, force=True)


def link_version(model: str, promotion: Promotion, package: PackageRef, evaluation: Evaluation) -> None:
    """Give ZenML's model the version ``v<number>``, with the artifacts of this run.

    Parameters
    ----------
    model: the registered model's name.
    promotion: what became of the challenger.
    package: the challenger's package in MLflow.
    evaluation: its figures, shown on the version.
    """
    version = _version(Client(), model, promotion.version)
    if "mlflow_run_id" not in version.run_metadata:
        _link_artifacts(version)
        log_metadata(
            {
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
    """Link what the finished steps of this run made; the model's page then leads to data, embedder and figures."""
    for step in get_step_context().pipeline_run.steps.values():
        for artifacts in step.outputs.values():
            for artifact in artifacts:
                link_artifact_version_to_model_version(artifact, version)
