"""Read and split the data set."""

from typing import Annotated

import pandas as pd
from zenml import step

from ratchet.config import Dataset, Split, TaskName
from ratchet.data import Schema
from ratchet.data.row_identities import RowIdentities
from ratchet.data.suspicion import DataWarnings
from ratchet.model.train_holdout import load_train_holdout
from steps.caching import WHEN_NOTHING_CHANGED
from steps.materializers import IDENTITIES
from steps.run_context import log_row_counts


@step(cache_policy=WHEN_NOTHING_CHANGED, output_materializers=IDENTITIES)
def ingest(
    dataset: Dataset, split: Split, task: TaskName, seed: int, data_version: str
) -> tuple[
    Annotated[pd.DataFrame, "train_rows"],
    Annotated[pd.DataFrame, "holdout_rows"],
    Annotated[Schema, "data_schema"],
    Annotated[RowIdentities, "train_identities"],
    Annotated[RowIdentities, "holdout_identities"],
    Annotated[DataWarnings, "data_warnings"],
]:
    """Check the data set against its rules, and split it; return samples of one that is read in batches."""
    data = load_train_holdout(dataset, split, task, seed, data_version)
    log_row_counts(data_version, train_rows=data.n_train, holdout_rows=data.n_holdout)
    identities = data.train_identities, data.holdout_identities
    return data.train, data.holdout, data.schema, *identities, DataWarnings(found=data.warnings)
