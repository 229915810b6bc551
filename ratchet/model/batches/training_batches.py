"""The training rows of a file that is read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import ParquetDataset, Split, TaskName, TrainingConfig
from ratchet.data.batches import BatchedFile
from ratchet.data.batches.draws import held_out
from ratchet.data.schema import Schema


class TrainingBatches(BaseModel):
    """The training part of a Parquet file, which ``ingest`` splits by the position of each row.

    Attributes
    ----------
    dataset: the file, with ``batch_rows``.
    split, seed: as for ``ingest``.
    data_version: the expected hash of the file; None accepts any.
    """

    model_config = ConfigDict(frozen=True)

    dataset: ParquetDataset
    task: TaskName
    split: Split
    seed: int
    data_version: str | None = None

    @cached_property
    def file(self) -> BatchedFile:
        """The open file.

        Raises
        ------
        DataError: the file cannot be read, or has another hash than expected.
        """
        return BatchedFile(self.dataset, self.task, self.data_version)

    def frames(self, schema: Schema) -> Iterator[pd.DataFrame]:
        """Yield the typed training rows in the order of the file, features and target, at most ``batch_rows`` at once.

        The index is the position in the file.

        Parameters
        ----------
        schema: its encoded width bounds the rows of a frame further.

        Raises
        ------
        DataError: a value breaks a rule, or the file is damaged.
        """
        width = sum(1 if field.categories is None else len(field.categories) + 1 for field in schema.features)
        for rows in self.file.parts(width):
            train = rows[~held_out(rows, self.split.test_size, self.seed)]
            if len(train):
                yield train


def training_batches(config: TrainingConfig, data_version: str) -> TrainingBatches | None:
    """Return the training rows of a config that reads its file in batches, else None."""
    dataset = config.dataset
    if not isinstance(dataset, ParquetDataset) or dataset.batch_rows is None:
        return None
    return TrainingBatches(
        dataset=dataset, task=config.task, split=config.split, seed=config.seed, data_version=data_version
    )
