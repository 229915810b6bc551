"""Load a data set as training rows and holdout, in batches or whole."""

from __future__ import annotations

from ratchet.config import Dataset, ParquetDataset, Split, TaskName
from ratchet.data import load_dataset
from ratchet.data.batches import Ingested, ingest
from ratchet.data.row_identities import data_source, identify
from ratchet.model.tasks import TASKS


def load_train_holdout(
    config: Dataset, split: Split, task: TaskName, seed: int, expected_version: str | None = None
) -> Ingested:
    """Load the training rows and the holdout of a training run.

    Parameters
    ----------
    config: the ``dataset`` section of any source; a Parquet file with ``batch_rows`` is read in batches.
    seed: of the split, and of the samples of a file that is read in batches.
    expected_version: content hash that the caller planned with.

    Raises
    ------
    DataError: the data break a rule, have another hash than expected, or cannot be split.
    """
    if isinstance(config, ParquetDataset) and config.batch_rows is not None:
        return ingest(config, split, task, seed, expected_version)
    data = load_dataset(config, task, expected_version)
    train, holdout = TASKS[task].split_places(data.frame, data.schema, split, seed)
    source = data_source(config, data.data_version)
    return Ingested(
        train=train.reset_index(drop=True),
        holdout=holdout.reset_index(drop=True),
        train_identities=identify(train, config.target, source, train.index),
        holdout_identities=identify(holdout, config.target, source, holdout.index),
        n_train=len(train),
        n_holdout=len(holdout),
        schema=data.schema,
        data_version=data.data_version,
        warnings=data.warnings,
    )
