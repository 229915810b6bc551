"""The training pipeline: ingest → embed → train → evaluate → drift_check → promote."""

from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from ratchet.config import TrainingConfig
from ratchet.config.continuous import AnyTrainingConfig
from ratchet.model.batches.training_batches import training_batches
from ratchet.tracking.lineage import Lineage
from steps.drift_check import drift_check
from steps.embed import embed
from steps.evaluate import evaluate
from steps.ingest import ingest
from steps.promote import promote
from steps.train import train


@pipeline(name="training", execution_mode=ExecutionMode.FAIL_FAST)
def training(config: TrainingConfig, lineage: Lineage) -> None:
    """Train a challenger, and promote it if it passes the gate."""
    rows = ingest(config.dataset, config.split, config.task, config.seed, lineage.data_version)
    challenge(rows, config, lineage)


def challenge(
    rows: Any,
    config: AnyTrainingConfig,
    lineage: Lineage,
    first_new_row: int = 0,
    **decision: Any,
) -> None:
    """Add the steps from embed to promote, which both training pipelines share.

    Parameters
    ----------
    rows: the outputs of an ingest step.
    config, lineage: of the run.
    first_new_row: position of the first training row that is checked for drift; those before it are the reference.
    decision: further arguments of ``promote``.
    """
    train_rows, holdout_rows, schema, train_identities, holdout_identities, warnings = rows
    base, batches = lineage.warm_start, training_batches(config, lineage.data_version)
    embedder, features = embed(train_rows, batches, schema, config.embed, config.seed, config.model, base)
    model, package = train(
        train_rows,
        features,
        train_identities,
        batches,
        embedder,
        schema,
        config.train,
        config.task,
        config.seed,
        config.model,
        base,
        config.tracking.autolog,
    )
    evaluation = evaluate(model, package, holdout_rows, schema, warnings, config, lineage)
    drift = drift_check(train_rows, config.model, config.drift, first_new_row, after="evaluate")
    promote(package, evaluation, drift, holdout_rows, holdout_identities, config, lineage, **decision)
