"""Read the snapshot of a continuous-training run."""

from typing import Annotated

import pandas as pd
from zenml import step

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import Schema, snapshots
from ratchet.data.row_identities import RowIdentities
from ratchet.data.snapshots import Snapshot
from ratchet.data.suspicion import DataWarnings
from ratchet.data.suspicious_columns import suspicious_columns
from ratchet.settings import load_settings
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import IDENTITIES
from steps.run_context import log_row_counts


@step(name="ingest", cache_policy=WHEN_NOTHING_CHANGED, output_materializers=IDENTITIES)
def ingest_snapshot(
    config: ContinuousTrainingConfig, snapshot: Snapshot
) -> tuple[
    Annotated[pd.DataFrame, "train_rows"],
    Annotated[pd.DataFrame, "holdout_rows"],
    Annotated[Schema, "data_schema"],
    Annotated[RowIdentities, "train_identities"],
    Annotated[RowIdentities, "holdout_identities"],
    Annotated[DataWarnings, "data_warnings"],
]:
    """Read reference and production rows, which the snapshot has split, and check them against the data set's rules."""
    rows = snapshots.load_snapshot(load_settings(), config, snapshot.version)
    log_row_counts(snapshot.version, train_rows=len(rows.train), holdout_rows=len(rows.holdout))
    warnings = suspicious_columns(rows.train.iloc[: snapshot.reference_train], config.dataset, config.task)
    return (*rows, DataWarnings(found=warnings))
