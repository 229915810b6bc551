"""Rows in, checked and split."""

from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from ratchet import datasets
from ratchet.config import Dataset, Split, Task
from ratchet.datasets import Schema
from steps.caching import WHEN_NOTHING_CHANGED


@step(cache_policy=WHEN_NOTHING_CHANGED)
def ingest(
    dataset: Dataset, split: Split, task: Task, seed: int, data_version: str
) -> tuple[
    Annotated[pd.DataFrame, "train_rows"], Annotated[pd.DataFrame, "holdout_rows"], Annotated[Schema, "data_schema"]
]:
    """Load the data set, check it against its rules, and set the holdout apart."""
    data = datasets.load(dataset, task, data_version)
    stratify = split.keeps_shares(task)
    train, holdout = datasets.split_rows(data.frame, data.schema.target, split.test_size, seed, stratify=stratify)
    for name, rows in {"train_rows": train, "holdout_rows": holdout}.items():
        log_metadata({"data_version": data_version, "rows": len(rows)}, artifact_name=name, infer_artifact=True)
    return train, holdout, data.schema
