"""Features in, the one pipeline out, packaged and logged."""

from typing import Annotated

import pandas as pd
from sklearn.pipeline import Pipeline
from zenml import step

from ratchet import training
from ratchet.config import Task, Train
from ratchet.datasets import Schema
from ratchet.packaging import log_packaged
from ratchet.settings import load_settings
from ratchet.tracking import PackageRef, active_run_id
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
    embedder: Pipeline,
    schema: Schema,
    config: Train,
    task: Task,
    seed: int,
    model_name: str,
) -> tuple[Annotated[Pipeline, "model"], Annotated[PackageRef, "package"]]:
    """Fit the estimator on the embedded features and log it, joined with the embedder, as one package."""
    estimator = training.build_estimator(config, task, seed)
    model = training.fit_model(estimator, embedder, features.to_numpy(), train_rows[schema.target].to_numpy())
    return model, log_packaged(
        load_settings(), active_run_id(), model_name, model, train_rows, schema, config.estimator
    )
