"""Log a training run to MLflow: its package, parameters, lineage, metrics and figures."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from mlflow.entities import LoggedModelOutput
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS
from sklearn.pipeline import Pipeline

from ratchet.config import TrainingConfig
from ratchet.data import Schema
from ratchet.data.suspicion import DataWarnings
from ratchet.data.training_rows import TrainingRows
from ratchet.model.embedding import embed
from ratchet.model.evaluation import Evaluation
from ratchet.model.package.profiling import profile_rows
from ratchet.model.package.sealed_package import write_package
from ratchet.settings import Settings
from ratchet.tracking import DIGEST_TAG, PACKAGE_BYTES, PackageRef, connect, log_inputs, log_metrics
from ratchet.tracking.lineage import PREFIX, Lineage
from ratchet.tracking.run_figures import confusion_figure, features_figure

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The files of a package that describe it and have no row of the training data.
_DESCRIBING = ("MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml")


def log_package(
    settings: Settings,
    run_id: str,
    name: str,
    model: Pipeline,
    rows: pd.DataFrame,
    schema: Schema,
    estimator: str,
    training_rows: TrainingRows | None = None,
) -> PackageRef:
    """Write a model's package to a temporary folder, and log it as the run's logged model.

    Parameters
    ----------
    model, rows, schema, training_rows: as for ``write_package``.
    estimator: the estimator's dotted path, shown as the logged model's type.
    """
    client = connect(settings)
    with tempfile.TemporaryDirectory(prefix="ratchet-") as scratch:
        folder = Path(scratch) / "package"
        digest, manifest = write_package(folder, model, rows, schema, training_rows)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        log_metrics(client, run_id, {PACKAGE_BYTES: size})
        experiment = client.get_run(run_id).info.experiment_id
        logged = client.create_logged_model(
            experiment, name=name, source_run_id=run_id, tags={DIGEST_TAG: digest}, model_type=estimator
        )
        client.log_model_artifacts(logged.model_id, str(folder))
        show_in_artifacts(client, run_id, name, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return PackageRef(model_id=logged.model_id, run_id=run_id, digest=digest, onnx=manifest.onnx.exported)


def show_in_artifacts(client: MlflowClient, run_id: str, name: str, folder: Path) -> None:
    """Show a logged model among the artifacts of its run, as MLflow 2 did, without a second copy of its files.

    MLflow reads ``runs:/<run>/<name>`` from this folder and from the logged model of that name together.
    """
    for file in _DESCRIBING:
        client.log_artifact(run_id, str(folder / file), name)
    flavors: dict[str, dict[str, str]] = {"sklearn": {}, "python_function": {}}
    shown = {"artifact_path": name, "run_id": run_id, "flavors": flavors, "utc_time_created": str(datetime.now(UTC))}
    client.set_tag(run_id, MLFLOW_LOGGED_MODELS, json.dumps([shown]))


def log_training_run(
    settings: Settings,
    run_id: str,
    config: TrainingConfig,
    lineage: Lineage,
    package: PackageRef,
    evaluation: Evaluation,
    model: Pipeline,
    rows: pd.DataFrame,
    schema: Schema,
) -> None:
    """Log the inputs of a run, its metrics with the interval of the primary one, figures, and a profile of the holdout.

    The metrics are logged to the run and to its logged model. A run whose model came from the cache gets the tag
    ``ratchet.trained_by_run``, and logs the metrics to itself alone, since the logged model has them already.

    Parameters
    ----------
    evaluation: the model's metrics on the rows.
    rows: held-out rows, features and target.
    """
    client = connect(settings)
    trained_here = package.run_id == run_id
    log_inputs(client, run_id, config, lineage, {} if trained_here else {f"{PREFIX}trained_by_run": package.run_id})
    primary = evaluation.primary_metric
    interval = {f"{primary}_low": evaluation.low, f"{primary}_high": evaluation.high}
    log_metrics(client, run_id, evaluation.metrics | interval, package.model_id if trained_here else None)

    features = embed(model.named_steps["embed"], rows, schema)
    client.log_figure(run_id, features_figure(features, rows[schema.target]), "figures/features.png")
    if evaluation.confusion:
        client.log_figure(run_id, confusion_figure(evaluation), "figures/confusion_matrix.png")
    client.log_dict(run_id, profile_rows(rows, schema).model_dump(mode="json"), "holdout_profile.json")


def log_warnings(settings: Settings, run_id: str, warnings: DataWarnings) -> None:
    """Log the warnings about the data set of a run: their number as a metric, and all of them as a file."""
    client = connect(settings)
    log_metrics(client, run_id, {"data.warnings": float(len(warnings.found))})
    client.log_dict(run_id, warnings.model_dump(mode="json"), "data_warnings.json")
