"""Data sets: a config is read by its source into a typed, checked frame.

A source is a class with ``read()`` and ``version()``. To add one, write the class, its config model, and a line in
``SOURCES``.
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
from ratchet.data.split import row_hashes, split_rows
from ratchet.data.suspicion import Suspicion
from ratchet.data.suspicious_columns import require_none, suspicious_columns
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
    """The origin of rows."""

    def read(self) -> pd.DataFrame:
        """Return all rows, in the order of the source."""
        ...

    def version(self) -> str:
        """Return the MD5 of the data, as DVC records it for a file."""
        ...


SOURCES = {
    "sklearn": BundledSource,
    "csv": FileSource,
    "tsv": FileSource,
    "parquet": FileSource,
    "generated": GeneratedSource,
    "http": FileSource,
    "sql": SqlSource,
    "openml": OpenmlSource,
    "nab": NabSource,
}


@dataclass(frozen=True)
class LoadedDataset:
    """A checked data set.

    The frame has features and target, shape (rows, features + 1); numbers are float64, categories are text. Suspicious
    columns and rows have warnings.
    """

    frame: pd.DataFrame
    schema: Schema
    data_version: str
    warnings: tuple[Suspicion, ...] = ()


def open_source(config: Dataset) -> Source:
    """Return the source of a config."""
    return SOURCES[config.source](config)  # type: ignore[no-any-return]


def dataset_version(config: Dataset) -> str:
    """Return the content hash of a config's data."""
    return open_source(config).version()


def load_dataset(config: Dataset, task: TaskName, expected_version: str | None = None) -> LoadedDataset:
    """Read a data set and check its rules.

    Raises
    ------
    DataError: the data break a rule, have another hash than ``expected_version``, or are suspicious and ``strict`` is
        set.
    ConfigError: the config sets ``batch_rows``, which ``ratchet.data.batches`` reads.
    """
    if getattr(config, "batch_rows", None) is not None:
        raise ConfigError("dataset.batch_rows: all rows are needed at once here; leave it out, or read a smaller file")
    source = open_source(config)
    version = source.version()
    if expected_version is not None and version != expected_version:
        raise DataError(f"the data changed during the run: planned with {expected_version}, found {version}; run again")
    rows = source.read()
    warnings = suspicious_columns(rows, config, task)
    frame, schema = check_frame(in_order(rows, config), config, task)
    require_none(warnings, config)
    return LoadedDataset(frame, schema, version, warnings)
