"""Evaluate the model on the holdout."""

from typing import Annotated

import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import log_metadata, step

from ratchet import tracking
from ratchet.config.continuous import AnyTrainingConfig
from ratchet.data import Schema
from ratchet.data.suspicion import DataWarnings
from ratchet.model import evaluation
from ratchet.model.evaluation import Evaluation
from ratchet.settings import load_settings
from ratchet.tracking.lineage import Lineage
from ratchet.tracking.log_run import log_training_run, log_warnings
from steps.run_context import in_this_run


# Never cached: without it, the MLflow run of this pipeline run would be empty.
@step(enable_cache=False, experiment_tracker=True)
def evaluate(
    model: Pipeline,
    package: tracking.PackageRef,
    holdout_rows: pd.DataFrame,
    schema: Schema,
    warnings: DataWarnings,
    config: AnyTrainingConfig,
    lineage: Lineage,
) -> Annotated[Evaluation, "evaluation"]:
    """Score the model on held-out rows, and log metrics, figures, parameters and lineage."""
    result = evaluation.evaluate_model(model, holdout_rows, schema, config.evaluate, config.seed)
    run = tracking.active_run_id()
    log_warnings(load_settings(), run, warnings)
    log_training_run(load_settings(), run, config, in_this_run(lineage), package, result, model, holdout_rows, schema)
    log_metadata(metadata={"metrics": result.metrics, "data_version": lineage.data_version}, infer_artifact=True)
    return result
