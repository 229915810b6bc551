"""From a config to a typed, checked frame.

One registry: a source is a small class with ``read()`` and ``version()``, named by the ``source`` key of
the config. To add one, write the class, its config model, and a line in ``SOURCES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from ratchet.config import Dataset, TaskName
from ratchet.data.schema import Schema, check_frame
from ratchet.data.sources.bundled import BundledSource
from ratchet.data.sources.files import FileSource
from ratchet.data.sources.generated import GeneratedSource
from ratchet.data.sources.nab import NabSource
from ratchet.data.sources.openml import OpenmlSource
from ratchet.data.sources.sql import SqlSource
from ratchet.data.sources.web import HttpSource
from ratchet.data.split import row_hashes, split_rows
from ratchet.data.windows import in_order
from ratchet.errors import ConfigError, DataError

__all__ = [
    "SOURCES",
    "LoadedDataset",
    "Schema",
    "Source",
    "dataset_version",
    "load_dataset",
    "open_source",
    "row_hashes",
    "split_rows",
]


class Source(Protocol):
    """Where rows come from."""

    def read(self) -> pd.DataFrame:
        """All rows, in the source's own order."""
        ...

    def version(self) -> str:
        """The MD5 of the data, as DVC records it for a file."""
        ...


SOURCES = {
    "sklearn": BundledSource,
    "csv": FileSource,
    "tsv": FileSource,
    "parquet": FileSource,
    "generated": GeneratedSource,
    "http": HttpSource,
    "sql": SqlSource,
    "openml": OpenmlSource,
    "nab": NabSource,
}


@dataclass(frozen=True)
class LoadedDataset:
    """A checked data set.

    Attributes
    ----------
    frame: features and target, shape (rows, features + 1); numbers are float64, categories are text.
    schema: what each column holds.
    data_version: the MD5 of the data that was read.
    """

    frame: pd.DataFrame
    schema: Schema
    data_version: str


def open_source(config: Dataset) -> Source:
    """The source that a config names."""
    return SOURCES[config.source](config)  # type: ignore[no-any-return]


def dataset_version(config: Dataset) -> str:
    """The content hash of a config's data, without keeping the rows.

    Raises
    ------
    DataError: the data cannot be read.
    """
    return open_source(config).version()


def load_dataset(config: Dataset, task: TaskName, expected_version: str | None = None) -> LoadedDataset:
    """Read a data set and check it against its rules.

    Parameters
    ----------
    config: the ``dataset`` section.
    task: what the target is for; a classification needs two classes at least.
    expected_version: the content hash the caller planned with.

    Raises
    ------
    DataError: the data break a rule, or changed since ``expected_version`` was taken.
    ConfigError: the config asks for batches, which ``ratchet.batches`` reads.
    """
    if getattr(config, "batch_rows", None) is not None:
        raise ConfigError("dataset.batch_rows: all rows are needed at once here; leave it out, or read a smaller file")
    source = open_source(config)
    version = source.version()
    if expected_version is not None and version != expected_version:
        raise DataError(f"the data changed during the run: planned with {expected_version}, found {version}; run again")
    frame, schema = check_frame(in_order(source.read(), config), config, task)
    return LoadedDataset(frame, schema, version)
