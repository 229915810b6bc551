"""Build the snapshot of a continuous-training run: the reference, and labelled production rows up to a watermark.

The same reference, config and watermark give the same file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ratchet.config import LABELLED
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import Schema, load_dataset
from ratchet.data.row_identities import data_source
from ratchet.data.snapshots import PART, PARTS, ROW, Snapshot, write_snapshot
from ratchet.data.split import whole_times
from ratchet.feedback.audit_sample import is_audited
from ratchet.model.tasks import TASKS
from ratchet.monitoring.label_bias import MOST_LABELS, LabelCheck, check_labels_near
from ratchet.monitoring.production_rows import LabelledRow, labels_up_to
from ratchet.settings import Settings
from ratchet.store.database import Store


def build_snapshot(settings: Settings, config: ContinuousTrainingConfig, store: Store, watermark: int) -> Snapshot:
    """Write the snapshot of a watermark, if it does not exist.

    The reference is split as in training, so that the champion was not fitted on its holdout. The newest labelled
    production rows are held out too, by their time column if the data set has one, else by the time of prediction. A
    row is identified by its position in the reference, or by the id of its prediction: equal rows are different rows.

    If the chance of a label depends on the answer, only rows of the audit sample are held out; other rows as new as
    these are left out. Rows that are trained on may be labelled by any choice.

    Parameters
    ----------
    watermark: the number of the newest feedback to use.

    Raises
    ------
    DataError: the reference, or the rows together, break a rule of the config.
    """
    reference = load_dataset(config.dataset, config.task)
    train, holdout = TASKS[config.task].split_places(reference.frame, reference.schema, config.split, config.seed)
    labelled = labels_up_to(store, config.model, watermark, config.production.most_rows)
    production = as_frame(labelled, reference.schema).assign(**{ROW: [row.prediction_id for row in labelled]})
    if reference.schema.time is not None:  # a client can send an earlier time after a later one
        production = production.sort_values(reference.schema.time, kind="stable")
    newest = len(production) - int(len(production) * config.production.holdout)
    if reference.schema.group:  # rows of several series with one time are alike
        newest = whole_times(production[reference.schema.time].map(str).to_numpy(), newest)
    labels = _check_labels(store, config, labelled, watermark)
    older, newer = production.iloc[:newest], production.iloc[newest:]
    if labels.evidence == "audit":
        newer = newer[newer[ROW].map(lambda found: is_audited(found, labels.audit_share)).astype(bool)]
    train, holdout = (rows.assign(**{ROW: rows.index.astype(str)}) for rows in (train, holdout))
    parts = dict(zip(PARTS, (train, older, holdout, newer), strict=True))
    frame = pd.concat([rows.assign(**{PART: part}) for part, rows in parts.items()], ignore_index=True)
    frame = with_types(frame, reference.schema)
    return Snapshot(
        version=write_snapshot(settings, frame, data_source(config.dataset, reference.data_version)),
        watermark=watermark,
        reference_version=reference.data_version,
        **{part: len(rows) for part, rows in parts.items()},
        label_bias=labels.reason if labels.evidence == "none" else None,
    )


def _check_labels(
    store: Store, config: ContinuousTrainingConfig, labelled: list[LabelledRow], watermark: int
) -> LabelCheck:
    """Decide which labels are evidence, by the newest of the rows, in the order of their predictions."""
    ids = [row.prediction_id for row in labelled[-MOST_LABELS:]]
    share, classes = config.feedback.audit_share, config.task in LABELLED
    return check_labels_near(store, config.model, ids, share, classes=classes, up_to=watermark, targets=True)


def as_frame(rows: list[LabelledRow], schema: Schema) -> pd.DataFrame:
    """Return labelled production rows in the columns and types of a data set, shape (rows, features + 1)."""
    columns: dict[str, Any] = {}
    for field in schema.features:
        values = [row.features.get(field.name) for row in rows]
        columns[field.name] = pd.Series(values, dtype="float64" if field.type == "number" else object)
    kind = "float64" if schema.labels is None else "int64" if isinstance(schema.labels[0], int) else object
    columns[schema.target] = pd.Series([row.target for row in rows], dtype=kind)
    return pd.DataFrame(columns)


def with_types(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Store True and False and integers as such, so that the next schema has them too."""
    types = {}
    for field in schema.features:
        if field.boolean and frame[field.name].isin([0, 1, np.nan]).all():
            types[field.name] = "boolean"
        elif field.integer and (frame[field.name] % 1 == 0).all() and frame[field.name].abs().max() < 2**53:
            types[field.name] = "int64"
    return frame.astype(types)
