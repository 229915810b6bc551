"""One pass over a file: its schema, and a sample of each part."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ratchet.config import LABELLED, ParquetDataset, Split, TaskName
from ratchet.data.batches.draws import held_out
from ratchet.data.batches.reader import BatchedFile
from ratchet.data.batches.sample import RowSample
from ratchet.data.columns import MOST_CLASSES, classes_of, nothing_in
from ratchet.data.schema import Field, Schema, rule_of, schema_of
from ratchet.errors import DataError

# The most rows of each part that go from step to step: what profiles, figures, the gate and its bootstrap look at.
TRAIN_SAMPLE = 50_000
HOLDOUT_SAMPLE = 50_000
# With more than this, a column of text is an id, and one column for each value is no model.
MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Ingested:
    """A data set that is too large to keep.

    Attributes
    ----------
    train, holdout: a seeded sample of each part, typed rows in the order of the file; all of a part that is small.
    n_train, n_holdout: the rows of the parts themselves.
    schema: what each column holds, in all rows.
    data_version: the MD5 of the file.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    n_train: int
    n_holdout: int
    schema: Schema
    data_version: str


def ingest(
    config: ParquetDataset, split: Split, task: TaskName, seed: int, expected_version: str | None = None
) -> Ingested:
    """Check every row of a file, tell what its columns hold, and sample its training part and its holdout.

    Parameters
    ----------
    config: the ``dataset`` section, with ``batch_rows``.
    split: the share that is held out; ``stratify`` has nothing to do where rows are drawn one by one.
    task: what the target is for.
    seed: of the split and of the samples.
    expected_version: the hash that the caller planned with.

    Raises
    ------
    DataError: with the column, the rule, and the row in the file; or a part is empty or lacks a class.
    """
    file = BatchedFile(config, task, expected_version)
    seen = {name: _Numbers() if kind == "number" else _Categories(name) for name, kind in file.kinds.items()}
    samples = {False: RowSample(TRAIN_SAMPLE, seed), True: RowSample(HOLDOUT_SAMPLE, seed)}
    labels: dict[bool, Counter[Any]] = {False: Counter(), True: Counter()}
    for rows in file.parts():
        for name, column in seen.items():
            column.add(rows[name])
        held = held_out(rows, split.test_size, seed)
        for side, sample in samples.items():
            part = rows[held == side]
            sample.add(part)
            if task in LABELLED:
                _count_labels(labels[side], part[config.target])
    fields = tuple(column.field(name, config) for name, column in seen.items())
    classes = classes_of(set(labels[False]) | set(labels[True]), config.target) if task in LABELLED else None
    _require_both_parts(samples, labels, classes, split)
    return Ingested(
        train=samples[False].take(),
        holdout=samples[True].take(),
        n_train=samples[False].n_seen,
        n_holdout=samples[True].n_seen,
        schema=schema_of(fields, classes, config, task),
        data_version=file.version,
    )


class _Numbers:
    """What is known of a column of numbers so far."""

    def __init__(self) -> None:
        self._minimum, self._maximum, self._nullable = np.inf, -np.inf, False

    def add(self, values: pd.Series[Any]) -> None:
        """Look at some rows."""
        array = values.to_numpy()
        self._minimum = np.fmin(self._minimum, np.fmin.reduce(array))
        self._maximum = np.fmax(self._maximum, np.fmax.reduce(array))
        self._nullable = self._nullable or bool(np.isnan(array).any())

    def field(self, name: str, config: ParquetDataset) -> Field:
        """The column, as the schema has it."""
        if self._minimum > self._maximum:
            raise nothing_in(name)
        return Field(
            name=name,
            type="number",
            nullable=self._nullable,
            minimum=float(self._minimum),
            maximum=float(self._maximum),
            rule=rule_of(config, name),
        )


class _Categories:
    """What is known of a column of categories so far."""

    def __init__(self, name: str) -> None:
        self._name, self._nullable = name, False
        self._values: set[str] = set()

    def add(self, values: pd.Series[Any]) -> None:
        """Look at some rows."""
        distinct = set(values.unique().tolist())
        self._values |= {value for value in distinct if isinstance(value, str)}
        self._nullable = self._nullable or any(not isinstance(value, str) for value in distinct)
        if len(self._values) > MOST_CATEGORIES:
            raise DataError(
                f"column {self._name!r}: has more than {MOST_CATEGORIES} categories; name it in dataset.drop,"
                " or declare it as type: number if that is what it holds"
            )

    def field(self, name: str, config: ParquetDataset) -> Field:
        """The column, as the schema has it."""
        if not self._values:
            raise nothing_in(name)
        return Field(
            name=name,
            type="category",
            nullable=self._nullable,
            categories=tuple(sorted(self._values)),
            rule=rule_of(config, name),
        )


def _count_labels(counts: Counter[Any], values: pd.Series[Any]) -> None:
    counts.update(values.value_counts().to_dict())
    if len(counts) > MOST_CLASSES:
        classes_of(set(counts), str(values.name))


def _require_both_parts(
    samples: dict[bool, RowSample],
    labels: dict[bool, Counter[Any]],
    classes: tuple[str | int, ...] | None,
    split: Split,
) -> None:
    sizes = {side: sample.n_seen for side, sample in samples.items()}
    where = f"split.test_size {split.test_size:g} of {sum(sizes.values())} rows"
    for side, name in {False: "training part", True: "holdout"}.items():
        if not sizes[side]:
            raise DataError(f"{where}: the {name} is empty")
        for label in classes or ():
            if not labels[side][label]:
                raise DataError(
                    f"{where}: the class {label!r} has {labels[not side][label]} rows, and none is in the {name};"
                    " equal rows are on the same side"
                )
