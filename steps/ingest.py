"""Rows in, checked and split."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from ratchet.config import Dataset, Split, TaskName
from ratchet.data import Schema
from ratchet.model.train_holdout import load_train_holdout
from steps.caching import WHEN_NOTHING_CHANGED


@step(cache_policy=WHEN_NOTHING_CHANGED)
def ingest(
    dataset: Dataset, split: Split, task: TaskName, seed: int, data_version: str
) -> tuple[
    Annotated[pd.DataFrame, "train_rows"], Annotated[pd.DataFrame, "holdout_rows"], Annotated[Schema, "data_schema"]
]:
    """Check the data set against its rules, and set the holdout apart; of one read in batches, hand on samples."""
    data = load_train_holdout(dataset, split, task, seed, data_version)
    for name, rows in {"train_rows": data.n_train, "holdout_rows": data.n_holdout}.items():
        log_metadata({"data_version": data_version, "rows": rows}, artifact_name=name, infer_artifact=True)
    return data.train, data.holdout, data.schema
