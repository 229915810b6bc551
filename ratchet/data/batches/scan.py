"""One pass over a Parquet file, for its schema and a sample of each part."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import LABELLED, ParquetDataset, Split, TaskName
from ratchet.data.batches.draws import RowSample, held_out
from ratchet.data.batches.reader import BatchedFile
from ratchet.data.columns import MOST_CLASSES, classes_of, require_value
from ratchet.data.row_identities import RowIdentities, data_source, identify
from ratchet.data.schema import Field, Schema, field_of, schema_of
from ratchet.data.suspicion import Suspicion
from ratchet.data.suspicious_columns import require_none, suspicious_columns
from ratchet.errors import DataError

# The most rows of each part in the sample, which profiles, figures, the gate and its bootstrap use.
TRAIN_SAMPLE = 50_000
HOLDOUT_SAMPLE = 50_000
# A column of text with more values is an id; one-hot encoding would make a column of each.
MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Ingested:
    """Training rows and holdout of a data set.

    Attributes
    ----------
    train, holdout: typed rows in the order of the file; a seeded sample of a large part.
    train_identities, holdout_identities: of these rows.
    n_train, n_holdout: the number of rows of each part, before sampling.
    schema: of all rows.
    data_version: the MD5 of the file.
    warnings: about suspicious columns and rows; of a file that is read in batches those of the training sample.
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    train_identities: RowIdentities
    holdout_identities: RowIdentities
    n_train: int
    n_holdout: int
    schema: Schema
    data_version: str
    warnings: tuple[Suspicion, ...] = ()


def ingest(
    config: ParquetDataset, split: Split, task: TaskName, seed: int, expected_version: str | None = None
) -> Ingested:
    """Check every row of a file, and sample its training part and its holdout.

    Each row is drawn independently, so ``split.stratify`` is ignored.

    Raises
    ------
    DataError: the column, the rule, and the row of the file; or a part is empty or lacks a class.
    """
    file = BatchedFile(config, task, expected_version)
    seen: dict[str, npt.NDArray[Any]] = {}
    samples = {False: RowSample(TRAIN_SAMPLE, seed), True: RowSample(HOLDOUT_SAMPLE, seed)}
    labels: dict[bool, Counter[Any]] = {False: Counter(), True: Counter()}
    for rows in file.parts():
        for name in file.features:
            values = rows[name].to_numpy()
            seen[name] = _distinct(name, np.concatenate([seen[name], values]) if name in seen else values)
        held = held_out(rows, split.test_size, seed)
        for side, sample in samples.items():
            part = rows[held == side]
            sample.add(part)
            if task in LABELLED:
                _count_labels(labels[side], part[config.target])
    fields = _fields(file, seen)
    classes = classes_of(set(labels[False]) | set(labels[True]), config.target) if task in LABELLED else None
    _require_both_parts(samples, labels, classes, split)
    source, parts = data_source(config, file.version), {side: sample.take() for side, sample in samples.items()}
    warnings = suspicious_columns(parts[False], config, task)
    require_none(warnings, config)
    return Ingested(
        train=parts[False].reset_index(drop=True),
        holdout=parts[True].reset_index(drop=True),
        train_identities=identify(parts[False], config.target, source, parts[False].index),
        holdout_identities=identify(parts[True], config.target, source, parts[True].index),
        n_train=samples[False].n_seen,
        n_holdout=samples[True].n_seen,
        schema=schema_of(fields, classes, config, task),
        data_version=file.version,
        warnings=warnings,
    )


def _distinct(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values that the field of a column depends on: both ends of a number, each category, and a gap."""
    if values.dtype == np.float64:
        ends = [np.fmin.reduce(values), np.fmax.reduce(values)]
        return np.array([*ends, np.nan] if np.isnan(values).any() else ends)
    distinct = np.asarray(pd.unique(values))
    if pd.notna(distinct).sum() > MOST_CATEGORIES:
        raise DataError(
            f"column {name!r}: has more than {MOST_CATEGORIES} categories; name it in dataset.drop,"
            " or declare it as type: number if it has numbers"
        )
    return distinct


def _fields(file: BatchedFile, seen: dict[str, npt.NDArray[Any]]) -> tuple[Field, ...]:
    """Return the fields of the features, by the values of each that its field depends on."""
    features = [pd.Series(values, name=name) for name, values in seen.items()]
    for feature in features:
        require_value(feature)
    return tuple(
        field_of(
            feature,
            file.rules[str(feature.name)],
            boolean=feature.name in file.booleans,
            integer=feature.name in file.integers,
        )
        for feature in features
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
                    f"{where}: the class {label!r} has {labels[not side][label]} rows, and none is in the {name}"
                )
