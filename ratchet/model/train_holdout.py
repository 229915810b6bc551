"""Load a data set as training rows and holdout, in batches or whole."""

from __future__ import annotations

from ratchet.config import Dataset, ParquetDataset, Split, TaskName
from ratchet.data import load_dataset
from ratchet.data.batches import Ingested, ingest
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
    train, holdout = TASKS[task].split(data.frame, data.schema, split, seed)
    return Ingested(train, holdout, len(train), len(holdout), data.schema, data.data_version, data.warnings)
