"""What a pipeline run leaves in its MLflow run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from sklearn.pipeline import Pipeline

from ratchet.config import TrainingConfig
from ratchet.data import Schema
from ratchet.model.embedding import embed
from ratchet.model.evaluation import Evaluation
from ratchet.model.package.profiling import profile_rows
from ratchet.settings import Settings
from ratchet.tracking import PackageRef, connect, log_evaluation, log_inputs
from ratchet.tracking.lineage import Lineage
from ratchet.tracking.run_figures import confusion_figure, features_figure

if TYPE_CHECKING:
    from mlflow import MlflowClient


def record_result(
    settings: Settings,
    run_id: str,
    config: TrainingConfig,
    lineage: Lineage,
    package: PackageRef,
    evaluation: Evaluation,
) -> MlflowClient:
    """Log what went in and what came out: parameters, lineage, data set, metrics.

    A run whose model came from the cache carries the tag ``ratchet.trained_by_run``; its metrics then show on the
    run alone, since the logged model has them already.
    """
    client = connect(settings)
    tags = lineage.tags()
    trained_here = package.run_id == run_id
    if not trained_here:
        tags["ratchet.trained_by_run"] = package.run_id
    log_inputs(client, run_id, config, tags, lineage.data_version)
    log_evaluation(client, run_id, evaluation, package.model_id if trained_here else None)
    return client


def record_figures(
    client: MlflowClient, run_id: str, model: Pipeline, rows: pd.DataFrame, schema: Schema, evaluation: Evaluation
) -> None:
    """Log the figures as PNG and the profile of the rows as JSON.

    Parameters
    ----------
    client, run_id: the run.
    model: the fitted pipeline, whose embedder places the rows.
    rows: held-out rows, features and target.
    schema: which column is what.
    evaluation: the model's figures on these rows.
    """
    features = embed(model.named_steps["embed"], rows, schema)
    client.log_figure(run_id, features_figure(features, rows[schema.target]), "figures/features.png")
    if evaluation.confusion:
        client.log_figure(run_id, confusion_figure(evaluation), "figures/confusion_matrix.png")
    client.log_dict(run_id, profile_rows(rows, schema).model_dump(mode="json"), "holdout_profile.json")
