"""MLflow: runs, logged models and registered versions. With ``registry.py``, the only module that knows it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import yaml
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict

from ratchet.config import TrainingConfig
from ratchet.errors import ConfigError, RegistryError
from ratchet.settings import Settings
from ratchet.trust import TRUSTED_TYPES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ratchet.evaluation import Evaluation

DIGEST_TAG = "ratchet.package_digest"
# What a model costs, logged by the run that trained it: the fit in seconds, and its package in bytes.
TRAINING_SECONDS, PACKAGE_BYTES = "training_seconds", "package_bytes"
_LONGEST_PARAM = 6000
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_\-. :/]")


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


def connect(settings: Settings) -> MlflowClient:
    """A client of the tracking server and registry that the settings name.

    The process's own tracking URI is set too: MLflow resolves ``models:/<id>`` through it, whatever the client's is.
    """
    mlflow.set_tracking_uri(settings.tracking_uri)
    return mlflow.MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Turn what MLflow raises, when it cannot be reached or refuses, into one line that names the place.

    Raises
    ------
    RegistryError: MLflow raised something.
    """
    try:
        yield
    except MlflowException as error:
        raise RegistryError(f"MLflow at {settings.tracking_place}: {_first_line(error)}") from None


def ensure_experiment(settings: Settings, name: str) -> str:
    """The id of an experiment, made on first use with artifacts where the settings put them.

    Raises
    ------
    RegistryError: MLflow cannot be reached, or the experiment was deleted.
    """
    client = connect(settings)
    try:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return str(client.create_experiment(name, artifact_location=_artifact_location(settings, name)))
    except MlflowException as error:
        raise RegistryError(f"MLflow at {settings.tracking_place}: {_first_line(error)}") from None
    if experiment.lifecycle_stage == "deleted":
        raise RegistryError(f"the MLflow experiment {name!r} is deleted: restore it, or choose another model name")
    return str(experiment.experiment_id)


def active_run_id() -> str:
    """The run that the pipeline's experiment tracker opened for the current step.

    Raises
    ------
    RegistryError: there is none, since the active stack has no MLflow experiment tracker.
    """
    run = mlflow.active_run()
    if run is None:
        raise RegistryError("the active ZenML stack opened no MLflow run: give it an MLflow experiment tracker")
    return str(run.info.run_id)


def log_inputs(
    client: MlflowClient, run_id: str, config: TrainingConfig, tags: Mapping[str, str], data_version: str
) -> None:
    """Write down what a run starts from: parameters, lineage tags, the config and the data set.

    Parameters
    ----------
    client, run_id: the run.
    config: logged flat as parameters and whole as ``config.yaml``.
    tags: the lineage.
    data_version: the data set's content hash.
    """
    params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in flat(config.model_dump(mode="json")).items()]
    client.log_batch(run_id, params=params, tags=[RunTag(key, value) for key, value in tags.items()])
    client.log_text(run_id, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), "config.yaml")
    name = str(getattr(config.dataset, "name", None) or getattr(config.dataset, "path", ""))
    dataset = Dataset(name=name, digest=data_version, source_type=config.dataset.source, source=name)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def log_evaluation(
    client: MlflowClient, run_id: str, evaluation: Evaluation, model_id: str | None, prefix: str = ""
) -> None:
    """Log every metric and the interval of the primary one, on the run and on the logged model."""
    figures = evaluation.metrics | {
        f"{evaluation.primary_metric}_low": evaluation.low,
        f"{evaluation.primary_metric}_high": evaluation.high,
    }
    log_metrics(client, run_id, {f"{prefix}{name}": value for name, value in figures.items()}, model_id)


def log_metrics(client: MlflowClient, run_id: str, figures: Mapping[str, float], model_id: str | None = None) -> None:
    """Log figures in one call; with ``model_id`` they show on the logged model too.

    Characters that MLflow does not take in a metric's name, as a column's name may have, become underscores.
    """
    now = int(time.time() * 1000)
    metrics = [
        Metric(_NOT_IN_A_NAME.sub("_", key), value, now, 0, model_id=model_id, run_id=run_id)
        for key, value in figures.items()
    ]
    client.log_batch(run_id, metrics=metrics)


class ChildRun(BaseModel):
    """A run inside another, whole: it is logged when all of it is known.

    Attributes
    ----------
    steps: by metric, its value at each step.
    began, ended: Unix time in seconds.
    finished: or else it failed.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    params: dict[str, Any]
    metrics: dict[str, float]
    steps: dict[str, tuple[float, ...]]
    tags: dict[str, str]
    began: float
    ended: float
    finished: bool = True


def child_runs(client: MlflowClient, parent: str, tag: str, value: str) -> dict[str, Any]:
    """The runs of the parent's experiment that carry a tag with a value, by their name; the newest of each."""
    experiment = client.get_run(parent).info.experiment_id
    which = f"tags.`{tag}` = '{value}' AND tags.`mlflow.parentRunId` LIKE '%'"
    found = all_pages(lambda token: client.search_runs([experiment], which, max_results=1000, page_token=token))
    return {run.info.run_name: run for run in reversed(found)}


def log_child_run(client: MlflowClient, parent: str, child: ChildRun, known: Any = None) -> None:
    """Log a run inside another; what an earlier process has logged of it is completed, and put under this parent.

    Parameters
    ----------
    client, parent: the run that it is inside of.
    child: the run.
    known: MLflow's run of the same name, where there is one.
    """
    began, ended = int(child.began * 1000), int(child.ended * 1000)
    if known is not None and known.info.status in ("FINISHED", "FAILED"):
        if known.data.tags.get("mlflow.parentRunId") != parent:
            client.set_tag(known.info.run_id, "mlflow.parentRunId", parent)
        return
    tags = {**child.tags, "mlflow.parentRunId": parent}
    run = known or client.create_run(
        client.get_run(parent).info.experiment_id, start_time=began, run_name=child.name, tags=tags
    )
    figures = [Metric(key, value, ended, 0) for key, value in child.metrics.items()]
    figures += [Metric(key, value, ended, at) for key, values in child.steps.items() for at, value in enumerate(values)]
    params = [Param(key, str(value)[:_LONGEST_PARAM]) for key, value in child.params.items()]
    client.log_batch(run.info.run_id, figures, params, [RunTag(key, value) for key, value in tags.items()])
    client.set_terminated(run.info.run_id, "FINISHED" if child.finished else "FAILED", ended)


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
    try:
        client = connect(settings)
        return sorted(
            found.name for found in all_pages(lambda token: client.search_registered_models(page_token=token))
        )
    except MlflowException as error:
        raise RegistryError(f"MLflow at {settings.tracking_place}: {_first_line(error)}") from None


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


def all_pages(search: Callable[[str | None], Any]) -> list[Any]:
    """Everything that a paged search finds.

    Parameters
    ----------
    search: takes the token of a page, None for the first, and returns it.
    """
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found += page
    return found


class RunRecord(BaseModel):
    """What a finished run says of itself."""

    model_config = ConfigDict(frozen=True)

    name: str
    experiment: str
    metrics: dict[str, float]
    dataset: str | None
    config: dict[str, Any] | None

    @property
    def quality(self) -> dict[str, float]:
        """How good the model is on its holdout: the metrics without drift, gate and costs."""
        costs = (TRAINING_SECONDS, PACKAGE_BYTES)
        return {
            name: value
            for name, value in self.metrics.items()
            if "." not in name and not name.startswith("drift_") and name not in costs
        }


def run_record(settings: Settings, run_id: str) -> RunRecord:
    """Read back what a training run logged.

    Raises
    ------
    RegistryError: MLflow cannot be reached, or the run is gone.
    """
    client = connect(settings)
    try:
        run = client.get_run(run_id)
        config = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/config.yaml")
        experiment = client.get_experiment(run.info.experiment_id).name
    except (MlflowException, OSError) as error:
        raise RegistryError(f"the run {run_id} cannot be read back: {_first_line(error)}") from None
    datasets = run.inputs.dataset_inputs if run.inputs else []
    return RunRecord(
        name=run.info.run_name or run_id,
        experiment=experiment,
        metrics=run.data.metrics,
        dataset=datasets[0].dataset.name if datasets else None,
        config=yaml.safe_load(config),
    )


def save_mlflow_model(folder: Path, model: Any, features: pd.DataFrame, requirements: list[str]) -> None:
    """Write a pipeline in MLflow's format, with signature, input example and explicit requirements.

    Parameters
    ----------
    folder: where to; must not exist or be empty.
    model: a fitted pipeline.
    features: rows that show the signature, shape (rows, features).
    requirements: exact pip requirements; inferring them would cost ten seconds and guess.
    """
    import mlflow.sklearn
    from mlflow.models import infer_signature

    mlflow.sklearn.save_model(
        model,
        str(folder),
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED_TYPES),
        signature=infer_signature(features, model.predict(features.head(5))),
        input_example=features.head(3),
        pip_requirements=requirements,
    )


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
        raise RegistryError(
            f"the artifacts of {model} version {version} cannot be read: {_first_line(error)}"
        ) from None


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys: ``{"a": {"b": 1}}`` is ``{"a.b": 1}``."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def _artifact_location(settings: Settings, experiment: str) -> str | None:
    root = settings.mlflow_artifacts
    return f"{root}/{experiment}" if root else None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
