"""Read the snapshot of a continuous-training run."""

from typing import Annotated

import pandas as pd
from zenml import step

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import Schema, snapshots
from ratchet.data.snapshots import Snapshot
from ratchet.data.suspicion import DataWarnings
from ratchet.data.suspicious_columns import suspicious_columns
from ratchet.settings import load_settings
from steps.caching import WHEN_NOTHING_CHANGED
from steps.run_context import log_row_counts


@step(name="ingest", cache_policy=WHEN_NOTHING_CHANGED)
def ingest_snapshot(
    config: ContinuousTrainingConfig, snapshot: Snapshot
) -> tuple[
    Annotated[pd.DataFrame, "train_rows"],
    Annotated[pd.DataFrame, "holdout_rows"],
    Annotated[Schema, "data_schema"],
    Annotated[DataWarnings, "data_warnings"],
]:
    """Read reference and production rows, which the snapshot has split, and check them against the data set's rules."""
    train, holdout, schema = snapshots.load_snapshot(load_settings(), config, snapshot.version)
    log_row_counts(snapshot.version, train_rows=len(train), holdout_rows=len(holdout))
    reference = train.iloc[: snapshot.reference_train]
    warnings = suspicious_columns(reference, config.dataset, config.task)
    return train, holdout, schema, DataWarnings(found=warnings)
