"""Logged models and registered versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ratchet.errors import ConfigError, RegistryError
from ratchet.nearest_names import nearest
from ratchet.settings import Settings
from ratchet.tracking.connection import connect, quoted
from ratchet.tracking.reader import open_reader

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


DIGEST_TAG = "ratchet.package_digest"


class PackageRef(BaseModel):
    """A package logged to MLflow.

    Attributes
    ----------
    run_id: the run that trained it.
    digest: SHA-256 of its manifest.
    onnx: whether it has a verified ONNX export.
    """

    model_config = ConfigDict(frozen=True)

    model_id: str
    run_id: str
    digest: str
    onnx: bool

    @property
    def uri(self) -> str:
        """The MLflow URI of the logged model."""
        return f"models:/{self.model_id}"


def is_stored(settings: Settings, package: PackageRef) -> bool:
    """Return whether MLflow still has the files of a package."""
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    connect(settings)
    try:
        return bool(list_artifacts(artifact_uri=package.uri))
    except (MlflowException, OSError):
        return False


def register(client: MlflowClient, model: str, package: PackageRef, tags: Mapping[str, str]) -> ModelVersion:
    """Return the registered version of a package.

    The first call creates the version with the tags and the digest, and the model if it is new.

    Raises
    ------
    RegistryError: the package is no longer in MLflow.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.get_logged_model(package.model_id)
    except MlflowException:
        raise RegistryError(
            f"the package {package.model_id} of an earlier run's cache is no longer in MLflow: run with --no-cache"
        ) from None
    if not client.search_registered_models(f"name = {quoted(model)}", max_results=1):
        client.create_registered_model(model)
    for version in client.search_model_versions(f"name = {quoted(model)} and run_id = '{package.run_id}'"):
        if version.source == package.uri:
            return version
    return client.create_model_version(
        model,
        source=package.uri,
        run_id=package.run_id,
        tags={DIGEST_TAG: package.digest, **tags},
        model_id=package.model_id,
    )


def registered_models(settings: Settings) -> list[str]:
    """Return the names of all registered models, sorted; none where MLflow's store is a file that does not exist.

    Raises
    ------
    RegistryError: MLflow is unreachable.
    """
    if not settings.has_tracking_store:  # MLflow would create it
        return []
    return open_reader(settings).registered_models()


def choose_model(settings: Settings, model: str | None) -> str:
    """Return a registered model's name: the given one, or the only one.

    Raises
    ------
    ConfigError: there is no such model, or there are several and none is given.
    RegistryError: no model is registered, or MLflow is unreachable.
    """
    known = registered_models(settings)
    if not known:
        raise RegistryError(
            f"no model is registered in {_shown(settings)}: train one with python run.py --config baseline.yaml"
        )
    if model is None and len(known) > 1:
        raise ConfigError(f"several models are registered: choose one with --model{nearest('', known)}")
    if model is not None and model not in known:
        raise ConfigError(f"there is no model {model!r}{nearest(model, known)}")
    return model or known[0]


def _shown(settings: Settings) -> str:
    """Return the place of the registry, and what leads to another one."""
    if settings.mlflow_uri:
        return f"{settings.tracking_place} (MLFLOW_TRACKING_URI)"
    return f"{settings.home.resolve()} (set RATCHET_HOME, or run in the project's folder, for another home)"
