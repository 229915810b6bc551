"""The training part of a file in batches in, the one pipeline out, packaged and logged."""

import time
from typing import Annotated

import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import step

from ratchet.config import ParquetDataset, Split, TaskName, Train
from ratchet.data import Schema
from ratchet.data.batches import BatchedFile
from ratchet.model import training
from ratchet.model.batches import fit_model
from ratchet.settings import load_settings
from ratchet.tracking import TRAINING_SECONDS, PackageRef, active_run_id, connect, log_metrics
from ratchet.tracking.log_package import log_package
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import SkopsMaterializer


@step(
    name="train",
    experiment_tracker=True,
    cache_policy=WHEN_NOTHING_CHANGED,
    output_materializers={"model": SkopsMaterializer},
)
def train_batches(
    train_rows: pd.DataFrame,
    embedder: Pipeline,
    schema: Schema,
    dataset: ParquetDataset,
    split: Split,
    config: Train,
    task: TaskName,
    seed: int,
    model_name: str,
    data_version: str,
) -> tuple[Annotated[Pipeline, "model"], Annotated[PackageRef, "package"]]:
    """Fit the estimator batch by batch and log it; the sample describes it, and it knows all rows by their hashes."""
    settings, run = load_settings(), active_run_id()
    estimator = training.build_estimator(config, task, seed, schema)
    begun = time.perf_counter()
    file = BatchedFile(dataset, task, data_version)
    fitted = fit_model(estimator, embedder, schema, file, split, seed, config.epochs)
    log_metrics(connect(settings), run, {TRAINING_SECONDS: time.perf_counter() - begun})
    rows, seen = train_rows, fitted.training_rows
    package = log_package(settings, run, model_name, fitted.model, rows, schema, config.estimator, seen)
    return fitted.model, package
