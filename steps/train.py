"""Train and package the model."""

import time
from typing import Annotated

import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import step

from ratchet.config import TaskName, Train
from ratchet.data import Schema
from ratchet.data.row_identities import RowIdentities
from ratchet.data.training_rows import TrainingRows
from ratchet.model import training
from ratchet.model.batches.partial_fit import fit_model
from ratchet.model.batches.training_batches import TrainingBatches
from ratchet.registry import warm_start
from ratchet.settings import load_settings
from ratchet.tracking import TRAINING_SECONDS, PackageRef, active_run_id, connect, log_metrics
from ratchet.tracking.autologging import autologged
from ratchet.tracking.log_run import log_package
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import SkopsMaterializer


@step(
    experiment_tracker=True,
    cache_policy=WHEN_NOTHING_CHANGED,
    output_materializers={"model": SkopsMaterializer},
)
def train(
    train_rows: pd.DataFrame,
    features: pd.DataFrame,
    identities: RowIdentities,
    batches: TrainingBatches | None,
    embedder: Pipeline,
    schema: Schema,
    config: Train,
    task: TaskName,
    seed: int,
    model_name: str,
    base_version: str | None,
    autolog: bool,
) -> tuple[Annotated[Pipeline, "model"], Annotated[PackageRef, "package"]]:
    """Fit the estimator on the embedded features, or on batches; log it and the embedder as one package."""
    settings, run = load_settings(), active_run_id()
    base = warm_start.load_base(settings, model_name, base_version, schema)
    estimator = training.build_estimator(config, task, seed, schema)
    begun = time.perf_counter()
    with autologged(enabled=autolog):
        if batches is None:
            model = warm_start.fit_challenger(
                estimator, embedder, features, train_rows, identities, schema.target, base
            )
        else:
            model, identities = fit_model(estimator, embedder, schema, batches, config.epochs)
    fitted = TrainingRows.of(identities, base.training_rows if base else None)
    log_metrics(connect(settings), run, {TRAINING_SECONDS: time.perf_counter() - begun})
    return model, log_package(settings, run, model_name, model, train_rows, schema, config.estimator, fitted)
