"""Versions as an earlier release wrote them: with their whole lineage in tags, and without its artifact."""

from __future__ import annotations

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect
from ratchet.tracking.lineage import LINEAGE_FILE, PREFIX, whole_lineage

# What the earlier release did not write.
_NEW = ("pipeline", "outcome")


def with_former_lineage(settings: Settings, model: str, number: str) -> None:
    """Rewrite a version and its run."""
    client, version = connect(settings), ProductionPointer(settings, model).get(number)
    run = client.get_run(version.run_id)
    lineage = whole_lineage(settings, version.run_id, {})
    for key in lineage.keys() - set(_NEW):
        client.set_tag(version.run_id, f"{PREFIX}{key}", lineage[key])
        client.set_model_version_tag(model, number, f"{PREFIX}{key}", lineage[key])
    client.set_tag(version.run_id, f"{PREFIX}drift", "no drift")
    client.delete_tag(version.run_id, f"{PREFIX}pipeline")
    for key in _NEW:
        client.delete_model_version_tag(model, number, f"{PREFIX}{key}")
    get_artifact_repository(run.info.artifact_uri).delete_artifacts(LINEAGE_FILE)
