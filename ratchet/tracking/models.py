"""Logged models, and the versions that are registered of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import LoggedModelOutput
from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict

from ratchet.errors import ConfigError, RegistryError, one_line
from ratchet.settings import Settings
from ratchet.tracking.connection import all_pages, connect, reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


DIGEST_TAG = "ratchet.package_digest"


class PackageRef(BaseModel):
    """Where a logged package is.

    Attributes
    ----------
    model_id: MLflow's id of the logged model.
    run_id: the run that trained it.
    digest: SHA-256 of its manifest.
    onnx: whether it holds a verified ONNX export.
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


def log_package(
    client: MlflowClient, run_id: str, name: str, folder: Path, digest: str, *, estimator: str, onnx: bool
) -> PackageRef:
    """Log a package folder as the run's logged model.

    Parameters
    ----------
    client, run_id: the run.
    name: the logged model's name.
    folder: a package.
    digest: its digest, recorded as a tag of the logged model.
    estimator: the estimator's dotted path, shown as the model's type.
    onnx: whether the package holds a verified export.
    """
    experiment = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(
        experiment, name=name, source_run_id=run_id, tags={DIGEST_TAG: digest}, model_type=estimator
    )
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return PackageRef(model_id=logged.model_id, run_id=run_id, digest=digest, onnx=onnx)


def register(client: MlflowClient, model: str, package: PackageRef, tags: Mapping[str, str]) -> ModelVersion:
    """The registered version of a package; made on the first call, found on every later one.

    Parameters
    ----------
    client: the registry.
    model: the registered model's name, made if it is new.
    package: a logged package.
    tags: put on the version when it is made, beside the digest.

    Raises
    ------
    RegistryError: the package is no longer in MLflow.
    """
    try:
        client.get_logged_model(package.model_id)
    except MlflowException:
        raise RegistryError(
            f"the package {package.model_id} that an earlier run cached is no longer in MLflow: run with --no-cache"
        ) from None
    if not client.search_registered_models(f"name = '{model}'", max_results=1):
        client.create_registered_model(model)
    for version in client.search_model_versions(f"name = '{model}' and run_id = '{package.run_id}'"):
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
    """The names of all registered models, in their order.

    Raises
    ------
    RegistryError: MLflow cannot be reached.
    """
    with reachable(settings):
        client = connect(settings)
        return sorted(
            found.name for found in all_pages(lambda token: client.search_registered_models(page_token=token))
        )


def choose_model(settings: Settings, model: str | None) -> str:
    """The registered model that is meant, which need not be named where there is only one.

    Raises
    ------
    ConfigError: there is no such model, or several and none is named.
    RegistryError: none is registered, or MLflow cannot be reached.
    """
    known = registered_models(settings)
    if not known:
        raise RegistryError("no model is registered yet: train one with python run.py --config baseline.yaml")
    if model is None and len(known) > 1:
        raise ConfigError(f"several models are registered ({', '.join(known)}): say which with --model")
    if model is not None and model not in known:
        raise ConfigError(f"there is no model {model!r}; registered are: {', '.join(known)}")
    return model or known[0]


def download(client: MlflowClient, model: str, version: str, to: Path) -> Path:
    """Bring a registered version's package to a local folder.

    Raises
    ------
    RegistryError: the artifacts cannot be read.
    """
    from mlflow.artifacts import download_artifacts

    try:
        uri = client.get_model_version_download_uri(model, version)
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(to), tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        raise RegistryError(f"the artifacts of {model} version {version} cannot be read: {one_line(error)}") from None
