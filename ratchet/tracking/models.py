"""Logged models and registered versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict

from ratchet.errors import ConfigError, RegistryError, one_line
from ratchet.nearest_names import nearest
from ratchet.settings import Settings
from ratchet.tracking.connection import all_pages, connect, quoted, reachable

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
    client = connect(settings)
    with reachable(settings):
        found = all_pages(lambda token: client.search_registered_models(page_token=token))
    return sorted(model.name for model in found)


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
        raise ConfigError(f"several models are registered ({', '.join(known)}): choose one with --model")
    if model is not None and model not in known:
        raise ConfigError(f"there is no model {model!r}{nearest(model, known)}")
    return model or known[0]


def _shown(settings: Settings) -> str:
    """Return the place of the registry, and what leads to another one."""
    if settings.mlflow_uri:
        return f"{settings.tracking_place} (MLFLOW_TRACKING_URI)"
    return f"{settings.home.resolve()} (set RATCHET_HOME, or run in the project's folder, for another home)"


def download(client: MlflowClient, model: str, version: str, to: Path, files: Sequence[str] = ()) -> Path:
    """Download a registered version's package, or some of its files, to a local folder; return the package's folder.

    Raises
    ------
    RegistryError: the artifacts cannot be read.
    """
    from mlflow.artifacts import download_artifacts

    try:
        uri = client.get_model_version_download_uri(model, version)
        for name in files:
            download_artifacts(artifact_uri=f"{uri}/{name}", dst_path=str(to), tracking_uri=client.tracking_uri)
        if files:
            return to
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(to), tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        raise RegistryError(f"the artifacts of {model} version {version} cannot be read: {one_line(error)}") from None
