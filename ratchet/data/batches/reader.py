"""A Parquet file, a part at a time: typed, checked, and told apart into training rows and holdout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.config import ParquetDataset, TaskName
from ratchet.data.batches.arrow import Kind, kind_of, numbers, targets, texts
from ratchet.data.columns import target_part, typed_part
from ratchet.data.delimited import check_header
from ratchet.data.fingerprint import file_version
from ratchet.data.schema import check_rules, rule_of, selected
from ratchet.errors import DataError, one_line

# What looks at rows one by one takes no more than this at a time, however large a batch may be: so many rows, or fewer
# of them where they are wide (16 MB of float64). Its results then are the same for all larger batches.
_ROWS = 1 << 14
_CELLS = 1 << 21
_BUFFER = 1 << 16


class BatchedFile:
    """A Parquet file that is never in memory as a whole.

    Parameters
    ----------
    config: the ``dataset`` section, with ``batch_rows``.
    task: what the target is for.
    expected_version: the hash that the caller planned with; None takes the file as it is.

    Raises
    ------
    DataError: the file cannot be read, its columns are not what the config says, or it changed.
    """

    def __init__(self, config: ParquetDataset, task: TaskName, expected_version: str | None = None) -> None:
        self.config, self.task = config, task
        self.version = file_version(config.path)
        if expected_version is not None and self.version != expected_version:
            raise DataError(
                f"the data changed during the run: planned with {expected_version}, found {self.version}; run again"
            )
        with self._open() as file:
            stored, self.n_rows = file.schema_arrow, file.metadata.num_rows
        check_header(list(stored.names), config.path)
        if not self.n_rows:
            raise DataError(f"{config.path}: has columns but no rows")
        index = (stored.pandas_metadata or {}).get("index_columns", ())
        columns = [name for name in stored.names if name not in index]
        self._names = [str(name) for name in selected(pd.DataFrame(columns=columns), config).columns]
        rules = {name: rule_of(config, name) for name in self._names if name != config.target}
        self.kinds: dict[str, Kind] = {name: kind_of(name, stored.field(name).type, rules[name]) for name in rules}
        self._rules = {name: rules[name].model_copy(update={"type": kind}) for name, kind in self.kinds.items()}

    @property
    def batch_rows(self) -> int:
        """The most rows that may be in memory at a time."""
        return self.config.batch_rows or self.n_rows

    def parts(self, width: int | None = None) -> Iterator[pd.DataFrame]:
        """The rows in the order of the file, a few at a time.

        Parameters
        ----------
        width: columns that the caller makes of a row, if they are more than there are.

        Yields
        ------
        Typed frames, features and target, at most ``batch_rows`` each; the index counts the rows of the file from 0.

        Raises
        ------
        DataError: a value is not what its column holds or breaks a rule, or the file is damaged.
        """
        most = max(1, min(self.batch_rows, _ROWS, _CELLS // max(width or 0, len(self._names))))
        first = 0
        with self._open() as file:
            for table in _tables(file, self._names, most):
                yield self._typed(table, pd.RangeIndex(first, first + table.num_rows))
                first += table.num_rows

    def _typed(self, table: pa.Table, index: pd.RangeIndex) -> pd.DataFrame:
        convert = {"number": numbers, "category": texts}
        columns: dict[str, Any] = {
            name: typed_part(convert[kind](table.column(name), index, name), self._rules[name])
            for name, kind in self.kinds.items()
        }
        frame = pd.DataFrame(columns, index=index, copy=False)
        check_rules(frame, self.config)
        target = self.config.target
        frame[target] = target_part(targets(table.column(target), index, target), self.task)
        return frame

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        path = self.config.path
        try:
            with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
                yield file
        except OSError as error:
            raise DataError(f"dataset.path {path}: {error.strerror or error}") from None
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}: not a readable Parquet file: {one_line(error)}") from None


def _tables(file: pq.ParquetFile, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """Tables of exactly so many rows, the last one aside; Arrow's own batches end where its chunks do."""
    held: list[pa.RecordBatch] = []
    wanted = rows
    for batch in file.iter_batches(rows, columns=columns, use_threads=False):
        taken = 0
        while taken < batch.num_rows:
            held.append(batch.slice(taken, wanted))
            taken += held[-1].num_rows
            wanted -= held[-1].num_rows
            if not wanted:
                yield pa.Table.from_batches(held)
                held, wanted = [], rows
    if held:
        yield pa.Table.from_batches(held)


def concatenated(arrays: list[npt.NDArray[Any]], dtype: Any) -> npt.NDArray[Any]:
    """One array of many; an empty one of none."""
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)
