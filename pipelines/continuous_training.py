"""The continuous-training pipeline: ingest reference and production, then what every challenger goes through."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from pipelines.training import challenge
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data.snapshots import Snapshot
from ratchet.tracking.lineage import Lineage
from steps.ingest_snapshot import ingest_snapshot


@pipeline(name="continuous_training", execution_mode=ExecutionMode.FAIL_FAST)
def continuous_training(
    config: ContinuousTrainingConfig, lineage: Lineage, snapshot: Snapshot, operation_id: str | None
) -> None:
    """Train a challenger on what is known by now, and let it into Production if it is proved better."""
    rows = ingest_snapshot(config, snapshot)
    decision = {"n_reference": snapshot.reference_holdout, "operation_id": operation_id}
    challenge(*rows, config, lineage, snapshot.reference_train, **decision)
