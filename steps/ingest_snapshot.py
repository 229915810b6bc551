"""The rows of a continuous-training run in: reference and production, split already."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import Schema, snapshots
from ratchet.data.snapshots import Snapshot
from ratchet.settings import load_settings
from steps.caching import WHEN_NOTHING_CHANGED


@step(name="ingest", cache_policy=WHEN_NOTHING_CHANGED)
def ingest_snapshot(
    config: ContinuousTrainingConfig, snapshot: Snapshot
) -> tuple[
    Annotated[pd.DataFrame, "train_rows"], Annotated[pd.DataFrame, "holdout_rows"], Annotated[Schema, "data_schema"]
]:
    """Read the snapshot that the run was begun with, and check it against the data set's rules."""
    train, holdout, schema = snapshots.load_snapshot(load_settings(), config, snapshot.version)
    for name, rows in {"train_rows": train, "holdout_rows": holdout}.items():
        metadata = {"data_version": snapshot.version, "rows": len(rows)}
        log_metadata(metadata, artifact_name=name, infer_artifact=True)
    return train, holdout, schema
