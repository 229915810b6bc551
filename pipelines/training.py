"""The training pipeline: ingest → embed → train → evaluate → drift_check → promote."""

from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from ratchet.config import TrainingConfig
from ratchet.config.continuous import AnyTrainingConfig
from ratchet.tracking.lineage import Lineage
from steps.drift_check import drift_check
from steps.embed import embed
from steps.embed_batches import embed_batches
from steps.evaluate import evaluate
from steps.ingest import ingest
from steps.promote import promote
from steps.train import train
from steps.train_batches import train_batches


@pipeline(name="training", execution_mode=ExecutionMode.FAIL_FAST)
def training(config: TrainingConfig, lineage: Lineage) -> None:
    """Train a challenger and let it into Production if it is proved better."""
    rows = ingest(config.dataset, config.split, config.task, config.seed, lineage.data_version)
    challenge(*rows, config, lineage)


def challenge(
    train_rows: Any,
    holdout_rows: Any,
    schema: Any,
    config: AnyTrainingConfig,
    lineage: Lineage,
    first_new_row: int = 0,
    **decision: Any,
) -> None:
    """Embed, train, evaluate, drift_check, promote: the same for all rows, wherever they come from.

    The look for drift begins at ``first_new_row``: what stands before it is the reference itself.
    """
    fit = fit_in_batches if getattr(config.dataset, "batch_rows", None) else fit_whole
    model, package = fit(train_rows, schema, config, lineage)
    evaluation = evaluate(model, package, holdout_rows, schema, config, lineage)
    drift = drift_check(train_rows, config.model, config.drift, first_new_row, after="evaluate")
    promote(package, evaluation, drift, holdout_rows, config, lineage, **decision)


def fit_whole(train_rows: Any, schema: Any, config: AnyTrainingConfig, lineage: Lineage) -> tuple[Any, Any]:
    """Embed and train on rows that are in memory."""
    base = lineage.warm_start
    embedder, features = embed(train_rows, schema, config.embed, config.seed, config.model, base)
    model, package = train(
        train_rows, features, embedder, schema, config.train, config.task, config.seed, config.model, base
    )
    return model, package


def fit_in_batches(train_rows: Any, schema: Any, config: AnyTrainingConfig, lineage: Lineage) -> tuple[Any, Any]:
    """Embed and train on all rows of a file, of which ``train_rows`` are a sample."""
    dataset, split, task, seed, version = config.dataset, config.split, config.task, config.seed, lineage.data_version
    embedder = embed_batches(schema, dataset, split, config.embed, task, seed, version)
    model, package = train_batches(
        train_rows, embedder, schema, dataset, split, config.train, task, seed, config.model, version
    )
    return model, package
