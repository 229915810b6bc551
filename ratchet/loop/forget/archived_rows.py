"""Predictions in the archive, which retention moved out of the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ratchet.loop.forget.places import Forgotten
from ratchet.loop.forget.selection import Selection
from ratchet.settings import Settings
from ratchet.store.archive import PREDICTIONS, Archive, ArchiveFile
from ratchet.store.archive_columns import from_table
from ratchet.store.failpoints import failpoint
from ratchet.store.prediction_batches import with_nulls


class ArchivedRows:
    """The archived predictions of a model; its caller holds the lease of the archive."""

    name = "archive"

    def __init__(self, settings: Settings, model: str) -> None:
        self._archive, self._model = Archive(settings), model

    def find(self, wanted: Selection) -> set[str]:
        """Return the ids of the selected rows that have features."""
        return {row["id"] for row in self.rows(wanted.ids) if wanted.has(row["id"], row["version"], row["features"])}

    def rows(self, ids: frozenset[str] | None) -> Iterator[dict[str, Any]]:
        """Yield the rows that have features: those of some ids, or all of the model."""
        for file in self._files(ids):
            for row in from_table(self._archive.read(file, ("id", "version", "features"))):
                if row["features"] is not None and (ids is None or row["id"] in ids):
                    yield row

    def erase(self, rows: Forgotten) -> list[str]:
        """Write the files with some of the rows again, without the features of these rows."""
        for file in self._files(rows.ids):
            table = self._archive.read(file)
            forgotten = [prediction_id in rows.ids for prediction_id in table.column("id").to_pylist()]
            if any(forgotten):
                self._archive.rewrite(file, with_nulls(table, "features", forgotten))
                failpoint("erasure_archive")
        return [f"earlier versions of the objects in {self._archive.root}"] if "://" in self._archive.root else []

    def _files(self, ids: frozenset[str] | None) -> list[ArchiveFile]:
        """Return the files that can have some of the predictions; without ids, all of the model."""
        files = self._archive.files(PREDICTIONS, self._model)
        return files if ids is None else [file for file in files if file.first_key <= max(ids, default="")]
