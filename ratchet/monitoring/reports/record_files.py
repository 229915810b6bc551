"""The record files: ``ref_data.csv`` has a version's training rows, ``prod_data.csv`` its labelled production rows.

Both hold the features after the version's embedder, as its estimator receives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from ratchet.data.atomic_write import write_whole
from ratchet.data.schema import Schema
from ratchet.errors import StateError
from ratchet.model.embedding import embed
from ratchet.monitoring.production_rows import LabelledRow, PredictedRow, labelled_rows
from ratchet.monitoring.reports.version_rows import VersionRows, load_version_rows
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.store.database import Store

# The newest labelled rows that are exported.
MOST_ROWS = 100_000
# The two files; a version's training rows can be rows of production.
EXPORTS = ("ref_data.csv", "prod_data.csv")


def export_records(settings: Settings, store: Store, version: Version) -> str:
    """Write the record files of a version into ``RATCHET_DATA_DIR``; return their paths and numbers of rows.

    Raises
    ------
    RegistryError: the version is unavailable.
    DataError: its training rows are unavailable.
    StateError: the folder cannot be written, or the store cannot be read.
    """
    rows = labelled_rows(store, version.model, version.version, MOST_ROWS)
    return write_records(settings, load_version_rows(settings, version), rows)


def write_records(settings: Settings, subject: VersionRows, labelled: Sequence[LabelledRow]) -> str:
    """Write the two files, each atomically; return their paths and numbers of rows in one line.

    Parameters
    ----------
    labelled: rows that it predicted, newest first; those without a target, or whose features were forgotten, are left
        out.
    """
    known = [row for row in reversed(labelled) if row.target is not None and row.features]
    outcome: dict[str, Any] = {"target": [row.target for row in known], "prediction": [row.prediction for row in known]}
    reference = _embedded(subject, subject.train).assign(target=subject.train[subject.schema.target].to_numpy())
    production = _embedded(subject, features_of(known, subject.schema)).assign(**outcome)
    folder = settings.data_dir
    files = {folder / EXPORTS[0]: reference, folder / EXPORTS[1]: production}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, frame in files.items():
            write_whole(file, partial(frame.to_csv, index=False))
    except OSError as error:
        raise StateError(f"{folder}: cannot be written ({error.strerror}): set RATCHET_DATA_DIR") from None
    return ", ".join(f"{file} ({len(frame)} rows)" for file, frame in files.items())


def features_of(rows: Sequence[PredictedRow | LabelledRow], schema: Schema) -> pd.DataFrame:
    """Return the features of stored rows in the model's types, shape (rows, features)."""
    return schema.select(pd.DataFrame([row.features for row in rows], columns=schema.feature_names))


def _embedded(subject: VersionRows, rows: pd.DataFrame) -> pd.DataFrame:
    embedder = subject.model.named_steps["embed"]
    if rows.empty:  # scikit-learn does not transform an empty frame; any row has the columns
        return embed(embedder, subject.train.head(1), subject.schema).head(0)
    return embed(embedder, rows, subject.schema)
