"""Rows of production in the snapshots of continuous training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ratchet.data.snapshots import (
    fetch_snapshot,
    production_rows,
    redact_snapshot,
    redaction_of,
    remaining_version,
    snapshot_path,
)
from ratchet.errors import DataError
from ratchet.loop.forget.places import Forgotten
from ratchet.loop.forget.selection import Selection
from ratchet.loop.training_runs import TrainingRuns
from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.failpoints import failpoint
from ratchet.store.tables import training_runs

# Runs whose snapshots are fetched from the DVC remote.
_MOST_RUNS = 100_000


class SnapshotFiles:
    """The snapshots of a home without those of other models' runs, and those of the model's runs on the DVC remote."""

    name = "snapshots"

    def __init__(self, settings: Settings, store: Store, model: str) -> None:
        self._settings, self._store, self._model = settings, store, model

    def find(self, wanted: Selection) -> set[str]:
        """Return the ids of the selected rows; of a row, the version is not known."""
        found: set[str] = set()
        others = self._of_other_models()
        for version in (each for each in self._versions() if each not in others):
            rows = production_rows(snapshot_path(self._settings, version), wanted.columns)
            if rows is not None:
                records: dict[Any, dict[Any, Any]] = rows.astype(object).to_dict(orient="index")
                found |= {str(row) for row, values in records.items() if wanted.has(str(row), None, values)}
        return found

    def erase(self, rows: Forgotten) -> list[str]:
        """Replace the snapshots that have some of the rows by snapshots without them."""
        for version in list(self._versions()):
            redact_snapshot(self._settings, version, rows.ids, rows.erasure)
            failpoint("erasure_snapshot")
        notes = []
        missing = list(self._missing()) if self._settings.database_url else []
        if missing:
            notes.append(f"{len(missing)} snapshots of the model that this home does not have, such as {missing[0]}")
        unnamed = sum(production_rows(path) is None for path in self._files())
        if unnamed:
            notes.append(f"{unnamed} snapshots of an earlier release, whose rows have no ids")
        return notes

    def _versions(self) -> Iterator[str]:
        """Yield the snapshots of the home; those on the remote are fetched."""
        if self._settings.dvc_remote:
            for version in self._missing():
                try:
                    fetch_snapshot(self._settings, version)
                except DataError:  # the remote does not have it
                    continue
        for path in self._files():
            yield path.stem

    def _of_other_models(self) -> set[str]:
        """Return the snapshots of the runs of other models: their rows are none of this model's predictions."""
        run = training_runs.c
        named = sa.select(run.model, run.snapshot).where(run.snapshot.is_not(None)).distinct()
        mine, others = set[str](), set[str]()
        with self._store.reading() as connection:
            for model, version in connection.execute(named):
                known = mine if model == self._model else others
                known.update((version, remaining_version(self._settings, version)))
        return others - mine

    def _files(self) -> list[Path]:
        return sorted(snapshot_path(self._settings, "").parent.glob("*.parquet"))

    def _missing(self) -> Iterator[str]:
        """Yield the snapshots of the model's runs that this home neither has nor has replaced."""
        runs = TrainingRuns(self._store, self._model).history(_MOST_RUNS)
        for version in sorted({run.snapshot for run in runs if run.snapshot}):
            if not snapshot_path(self._settings, version).is_file() and redaction_of(self._settings, version) is None:
                yield version
