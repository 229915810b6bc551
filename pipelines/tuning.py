"""The tuning pipeline: ingest → tune; the best trial then goes through the training pipeline."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from ratchet.config.tuning import TuningConfig
from ratchet.tracking.lineage import Lineage
from steps.ingest import ingest
from steps.tune import tune


@pipeline(name="tuning", execution_mode=ExecutionMode.FAIL_FAST)
def tuning(config: TuningConfig, lineage: Lineage) -> None:
    """Search hyper-parameters on the training rows; no step takes the holdout."""
    train_rows, _holdout, schema, *_ = ingest(
        config.dataset, config.split, config.task, config.seed, lineage.data_version
    )
    tune(train_rows, schema, config, lineage)
