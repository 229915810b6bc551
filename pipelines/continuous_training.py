"""The continuous-training pipeline: ingest a snapshot of reference and production, then as for training."""

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
    """Train a challenger on reference and production rows, and promote it if it passes the gate."""
    challenge(
        ingest_snapshot(config, snapshot),
        config,
        lineage,
        snapshot.reference_train,
        n_reference=snapshot.reference_holdout,
        operation_id=operation_id,
        label_bias=snapshot.label_bias,
    )
