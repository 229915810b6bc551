"""Build the snapshot of a continuous-training run: the reference, and labelled production rows up to a watermark.

The same reference, config and watermark give the same file.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import Schema, load_dataset, row_hashes
from ratchet.data.snapshots import PART, PARTS, Snapshot, write_snapshot
from ratchet.model.tasks import TASKS
from ratchet.monitoring.production_rows import LabelledRow, labels_up_to
from ratchet.settings import Settings
from ratchet.store.database import Store


def build_snapshot(settings: Settings, config: ContinuousTrainingConfig, store: Store, watermark: int) -> Snapshot:
    """Write the snapshot of a watermark, unless it is there already.

    The reference is split as in training, so that its holdout is the one that the champion was not fitted on. The
    newest labelled rows of production are held out too: by their own time where the data set has one, else by that of
    their prediction. A row that is held out is
    in no training part, also where production has sent it a second time; and where production has sent a training row
    of the reference, it is not held out.

    Parameters
    ----------
    settings: the home that snapshots are kept in.
    config: data set, split, and the share of production that is held out.
    store: where the labels are.
    watermark: the number of the newest feedback to take.

    Raises
    ------
    DataError: the reference, or the rows together, break a rule of the config.
    """
    reference = load_dataset(config.dataset, config.task)
    train, holdout = TASKS[config.task].split(reference.frame, reference.schema, config.split, config.seed)
    production = as_frame(labels_up_to(store, config.model, watermark, config.production.most_rows), reference.schema)
    if reference.schema.time is not None:  # clients may send the past later than the present
        production = production.sort_values(reference.schema.time, kind="stable", ignore_index=True)
    newest = len(production) - int(len(production) * config.production.holdout)
    older, newer = production.iloc[:newest], _without(production.iloc[newest:], set(row_hashes(train).tolist()))
    held = set(row_hashes(holdout).tolist()) | set(row_hashes(newer).tolist())
    parts = dict(zip(PARTS, (train, _without(older, held), holdout, newer), strict=True))
    frame = pd.concat([rows.assign(**{PART: part}) for part, rows in parts.items()], ignore_index=True)
    return Snapshot(
        version=write_snapshot(settings, frame),
        watermark=watermark,
        reference_version=reference.data_version,
        **{part: len(rows) for part, rows in parts.items()},
    )


def as_frame(rows: list[LabelledRow], schema: Schema) -> pd.DataFrame:
    """Labelled rows of production in the columns and types of a data set.

    Parameters
    ----------
    rows: with a target each.
    schema: of the reference.

    Returns
    -------
    shape (rows, features + 1).
    """
    columns: dict[str, Any] = {}
    for field in schema.features:
        values = [row.features.get(field.name) for row in rows]
        columns[field.name] = pd.Series(values, dtype="float64" if field.type == "number" else object)
    kind = "float64" if schema.labels is None else "int64" if isinstance(schema.labels[0], int) else object
    columns[schema.target] = pd.Series([row.target for row in rows], dtype=kind)
    return pd.DataFrame(columns)


def _without(rows: pd.DataFrame, hashes: set[int]) -> pd.DataFrame:
    keep = [value not in hashes for value in row_hashes(rows).tolist()]
    return rows[keep]
