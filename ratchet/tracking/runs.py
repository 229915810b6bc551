"""MLflow runs: their inputs, metrics, child runs, and the record of a finished run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict

from ratchet.errors import RegistryError
from ratchet.settings import Settings
from ratchet.tracking.artifacts import read_text
from ratchet.tracking.connection import all_pages, quoted
from ratchet.tracking.keys import config_params
from ratchet.tracking.lineage import LINEAGE_FILE, Lineage
from ratchet.tracking.reader import open_reader

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ratchet.config import TrainingConfig

CONFIG_FILE = "config.yaml"
# Metrics of the run that trained a model: the seconds of the fit, and the bytes of the package.
TRAINING_SECONDS, PACKAGE_BYTES = "training_seconds", "package_bytes"
# MLflow's limits of a parameter's value and of a data set's name, in characters.
_LONGEST_PARAM, _LONGEST_NAME = 6000, 500
# The most metrics that MLflow takes in one call.
_BATCH = 1000


def log_inputs(
    client: MlflowClient, run_id: str, config: TrainingConfig, lineage: Lineage, tags: Mapping[str, str] | None = None
) -> None:
    """Log the inputs of a run: parameters, lineage, further tags, the config and the data set."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

    params = [Param(key, value[:_LONGEST_PARAM]) for key, value in config_params(config).items()]
    marks = lineage.tags() | dict(tags or {})
    client.log_batch(run_id, params=params, tags=[RunTag(key, value) for key, value in marks.items()])
    log_origin(client, run_id, config, lineage)
    name = str(getattr(config.dataset, "name", None) or getattr(config.dataset, "path", ""))[-_LONGEST_NAME:]
    dataset = Dataset(name=name, digest=lineage.data_version, source_type=config.dataset.source, source=name)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def log_origin(client: MlflowClient, run_id: str, config: TrainingConfig, lineage: Lineage) -> None:
    """Log the config and the lineage of a run as files, from which a version can be trained again."""
    from ratchet.config.plain_yaml import write_yaml

    client.log_text(run_id, write_yaml(config.to_plain()), CONFIG_FILE)
    client.log_dict(run_id, lineage.model_dump(mode="json", exclude_none=True), LINEAGE_FILE)


def log_missing_origin(client: MlflowClient, run_id: str, config: TrainingConfig, lineage: Lineage) -> None:
    """Log config and lineage to a run that has no config; a run of an earlier release has its lineage as tags."""
    if CONFIG_FILE not in {file.path for file in client.list_artifacts(run_id)}:
        log_origin(client, run_id, config, lineage)


def log_metrics(client: MlflowClient, run_id: str, figures: Mapping[str, float], model_id: str | None = None) -> None:
    """Log metrics; with ``model_id`` to the logged model too. A column is named by its ``column_key``."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(key, value, now, 0, model_id=model_id, run_id=run_id) for key, value in figures.items()]
    for first in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + _BATCH])


class ChildRun(BaseModel):
    """A finished run inside another.

    Attributes
    ----------
    steps: the values of each metric, step by step.
    began, ended: Unix time in seconds.
    finished: whether it finished; otherwise it failed.
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
    """Return the child runs of the parent's experiment with a tag's value, by name; the newest of each name."""
    experiment = client.get_run(parent).info.experiment_id
    which = f"tags.`{tag}` = {quoted(value)} AND tags.`mlflow.parentRunId` LIKE '%'"
    found = all_pages(lambda token: client.search_runs([experiment], which, max_results=1000, page_token=token))
    return {run.info.run_name: run for run in reversed(found)}


def log_child_run(client: MlflowClient, parent: str, child: ChildRun, known: Any = None) -> None:
    """Log a run inside another, or complete the known one of that name, which an earlier process logged in part."""
    from mlflow.entities import Metric, Param, RunTag

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


class RunRecord(BaseModel):
    """The metrics, data set and config of a finished run."""

    model_config = ConfigDict(frozen=True)

    name: str
    experiment: str
    metrics: dict[str, float]
    dataset: str | None
    config: dict[str, Any] | None

    @property
    def quality(self) -> dict[str, float]:
        """The metrics on the holdout, without those of drift, gate, training (also by autologging) and package size."""
        others = ("drift_", "training_", PACKAGE_BYTES)
        return {name: value for name, value in self.metrics.items() if "." not in name and not name.startswith(others)}


def run_record(settings: Settings, run_id: str, *, with_config: bool = True) -> RunRecord:
    """Read what a training run logged.

    Parameters
    ----------
    with_config: whether the config is read too, which is a file of the run.

    Raises
    ------
    RegistryError: MLflow is unreachable, or the run was deleted.
    """
    run = open_reader(settings).run(run_id)
    if run is None:
        raise RegistryError(f"the run {run_id} cannot be read: MLflow at {settings.tracking_place} does not have it")
    return RunRecord(
        name=run.name,
        experiment=run.experiment,
        metrics=run.metrics,
        dataset=run.datasets[0] if run.datasets else None,
        config=yaml.safe_load(read_text(settings, run.artifact_uri, CONFIG_FILE)) if with_config else None,
    )
