"""The training pipeline: ingest → embed → train → evaluate → drift_check → promote."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from ratchet.config import TrainingConfig
from ratchet.lineage import Lineage
from steps.drift_check import drift_check
from steps.embed import embed
from steps.evaluate import evaluate
from steps.ingest import ingest
from steps.promote import promote
from steps.train import train


@pipeline(name="training", execution_mode=ExecutionMode.FAIL_FAST)
def training(config: TrainingConfig, lineage: Lineage) -> None:
    """Train a challenger and let it into Production if it is proved better."""
    train_rows, holdout_rows, schema = ingest(
        config.dataset, config.split, config.task, config.seed, lineage.data_version
    )
    embedder, features = embed(train_rows, schema, config.embed, config.seed)
    model, package = train(train_rows, features, embedder, schema, config.train, config.task, config.seed, config.model)
    evaluation = evaluate(model, package, holdout_rows, schema, config, lineage)
    drift = drift_check(train_rows, config.model, config.drift, after="evaluate")
    promote(package, evaluation, drift, holdout_rows, config, lineage)
