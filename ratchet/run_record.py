"""What a pipeline run leaves in its MLflow run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from sklearn.pipeline import Pipeline

from ratchet.config import TrainingConfig
from ratchet.data import Schema
from ratchet.drift.report import DriftReport
from ratchet.figures import confusion_figure, features_figure
from ratchet.lineage import Lineage
from ratchet.loop.windows import record_drift_of_training
from ratchet.model.embedding import embed
from ratchet.model.evaluation import Evaluation
from ratchet.model.package.profiling import profile_rows
from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.tracking import PackageRef, connect, log_evaluation, log_inputs, log_metrics

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


def record_drift(settings: Settings, model: str, run_id: str, report: DriftReport) -> None:
    """Log every drift figure with its p-value, the share, the verdict, and the whole report as JSON.

    MLflow has it with the run, and the store in the table that windows of production stand in too.
    """
    record_drift_of_training(open_store(settings), model, report, run_id)
    client = connect(settings)
    client.set_tag(run_id, "ratchet.drift", report.summary)
    client.log_dict(run_id, report.model_dump(mode="json"), "drift.json")
    if report.reference is not None:
        log_metrics(client, run_id, drift_metrics(report))


def drift_metrics(report: DriftReport) -> dict[str, float]:
    """A report as flat metrics: ``drift.<column>`` and ``drift_p.<column>``, for other groups with their names."""
    metrics = {f"drift.{name}": figure for name, figure in report.figures.items()}
    metrics |= {f"drift_p.{name}": p_value for name, p_value in report.p_values.items()}
    for group, columns in {"embedded": report.embedded, "output": report.predictions}.items():
        metrics |= {f"drift_{group}.{column.name}": column.figure for column in columns}
        metrics |= {f"drift_{group}_p.{column.name}": column.p_value for column in columns}
    domain = {"drift_domain_auc": report.domain_auc, "drift_domain_p": report.domain_p}
    metrics |= {name: value for name, value in domain.items() if value is not None}
    return metrics | {"drift_share": report.share, "drift_detected": float(report.detected)}
