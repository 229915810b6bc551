"""The two CSVs of record, for people and reports: what a version was trained on, and what it said in production.

Both hold the features as the estimator sees them, that is, after the version's own embedder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.data.atomic_write import write_whole
from ratchet.data.schema import Schema
from ratchet.errors import RegistryError, StateError
from ratchet.model.embedding import embed
from ratchet.monitoring.production_rows import LabelledRow, PredictedRow, labelled_rows
from ratchet.monitoring.reports.version_rows import VersionRows, load_version_rows
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings

REFERENCE = "ref_data.csv"
PRODUCTION = "prod_data.csv"
# The newest so many labelled rows are exported.
MOST_ROWS = 100_000


@dataclass(frozen=True)
class RecordFiles:
    """The two files, and how many rows are in each."""

    reference: Path
    production: Path
    reference_rows: int
    production_rows: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        return f"{self.reference} ({self.reference_rows} rows), {self.production} ({self.production_rows} rows)"


def export_records(settings: Settings, model: str, version: str | None = None) -> RecordFiles:
    """Write ``ref_data.csv`` and ``prod_data.csv`` of a version into ``RATCHET_DATA_DIR``.

    Parameters
    ----------
    settings: where things are.
    model: the registered model's name.
    version: the version; None for the one in Production.

    Raises
    ------
    RegistryError: nothing is in Production, or the version is not to be had.
    DataError: the rows that it was trained on are gone.
    StateError: the folder cannot be written, or the store not be read.
    """
    pointer = ProductionPointer(settings, model)
    chosen = pointer.current() if version is None else pointer.get(version)
    if chosen is None:
        raise RegistryError(f"{model}: nothing is in Production yet: train it, or promote a version")
    rows = labelled_rows(pointer.store, model, chosen.version, MOST_ROWS)
    return write_records(settings, load_version_rows(settings, chosen), rows)


def write_records(settings: Settings, subject: VersionRows, labelled: Sequence[LabelledRow]) -> RecordFiles:
    """Write the two files, each whole or not at all.

    Parameters
    ----------
    settings: has the folder; it is made if it is not there.
    subject: the version and its rows.
    labelled: rows that it answered, newest first; those without a known truth are left out.
    """
    known = [row for row in reversed(labelled) if row.target is not None]
    said: dict[str, Any] = {"target": [row.target for row in known], "prediction": [row.prediction for row in known]}
    reference = _embedded(subject, subject.train).assign(target=subject.train[subject.schema.target].to_numpy())
    production = _embedded(subject, features_of(known, subject.schema)).assign(**said)
    files = RecordFiles(settings.data_dir / REFERENCE, settings.data_dir / PRODUCTION, len(reference), len(production))
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        write_whole(files.reference, lambda path: reference.to_csv(path, index=False))
        write_whole(files.production, lambda path: production.to_csv(path, index=False))
    except OSError as error:
        raise StateError(f"{settings.data_dir}: cannot be written ({error.strerror}): set RATCHET_DATA_DIR") from None
    return files


def features_of(rows: Sequence[PredictedRow | LabelledRow], schema: Schema) -> pd.DataFrame:
    """The features of rows from the store as the model takes them, shape (rows, features)."""
    return schema.select(pd.DataFrame([row.features for row in rows], columns=schema.feature_names))


def _embedded(subject: VersionRows, rows: pd.DataFrame) -> pd.DataFrame:
    embedder = subject.model.named_steps["embed"]
    if rows.empty:  # scikit-learn transforms no empty frame; the columns are those of any row
        return embed(embedder, subject.train.head(1), subject.schema).head(0)
    return embed(embedder, rows, subject.schema)
