"""A Parquet file in batches of typed and checked rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ratchet.config import Column, ParquetDataset, TaskName
from ratchet.data.arrow_frame import to_frame
from ratchet.data.column_reader import ColumnReader, rule_of
from ratchet.data.delimited import check_header
from ratchet.data.fingerprint import file_version
from ratchet.data.schema import check_rules, selected
from ratchet.data.target_column import typed_target
from ratchet.errors import DataError, one_line

# The largest part, in rows and in cells (16 MB of float64), for any batch. With larger batches, results that depend on
# the parts are the same.
_ROWS = 1 << 14
_CELLS = 1 << 21
_BUFFER = 1 << 16


class BatchedFile:
    """A Parquet file that is read part by part.

    Raises
    ------
    DataError: the file cannot be read, its columns do not fit the config, or its hash is not ``expected_version``.
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
        self.rules = {name: rule_of(config, name) for name in self._names}
        self._readers = {
            name: ColumnReader(name, rule if name == config.target else _typed_rule(rule, stored.field(name)))
            for name, rule in self.rules.items()
        }
        self.booleans = frozenset(name for name in self._names if pa.types.is_boolean(stored.field(name).type))
        self.integers = frozenset(name for name in self._names if pa.types.is_integer(stored.field(name).type))

    @property
    def features(self) -> list[str]:
        """The feature columns, in the order of the file."""
        return [name for name in self._names if name != self.config.target]

    @property
    def batch_rows(self) -> int:
        """The most rows that may be in memory at a time."""
        return self.config.batch_rows or self.n_rows

    def parts(self, width: int | None = None) -> Iterator[pd.DataFrame]:
        """Yield typed frames of at most ``batch_rows`` rows, features and target, in the order of the file.

        The index is the position of a row in the file. ``width`` is the number of columns that the caller computes.

        Raises
        ------
        DataError: a value does not fit its column or breaks a rule, or the file is damaged.
        """
        rows = max(1, min(self.batch_rows, _ROWS, _CELLS // max(width or 0, len(self._names))))
        first = 0
        with self._open() as file:
            for table in _tables(file, self._names, rows):
                frame = to_frame(table, ignore_metadata=True, split_blocks=True)
                frame.index = pd.RangeIndex(first, first + len(frame))
                first += len(frame)
                yield self._typed(frame)

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        target, readers = self.config.target, self._readers
        typed = pd.DataFrame({name: readers[name].from_values(frame[name]) for name in self.features})
        typed[target] = typed_target(frame[target], self.task, readers[target])
        check_rules(typed, self.config)
        return typed

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


def _typed_rule(rule: Column, field: pa.Field) -> Column:
    """Return the rule of a column with its type, which is that of the file where the config leaves it open."""
    stored = field.type
    if pa.types.is_nested(stored):
        raise DataError(f"column {field.name!r}: expected numbers or text, got {stored}; name it in dataset.drop")
    if rule.type is not None:
        return rule
    is_number = pa.types.is_decimal(stored) or pa.types.is_boolean(stored) or pa.types.is_integer(stored)
    return rule.model_copy(update={"type": "number" if is_number or pa.types.is_floating(stored) else "category"})


def _tables(file: pq.ParquetFile, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """Yield tables of ``rows`` rows, the last one shorter; Arrow's own batches end with each row group."""
    rest = file.schema_arrow.empty_table().select(columns)
    for batch in file.iter_batches(rows, columns=columns, use_threads=False):
        rest = pa.concat_tables([rest, pa.Table.from_batches([batch])])
        while len(rest) >= rows:
            yield rest.slice(0, rows)
            rest = rest.slice(rows)
    if len(rest):
        yield rest
