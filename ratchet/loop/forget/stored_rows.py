"""Predictions in the store: single ones, and rows of batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ratchet.loop.forget.places import Forgotten
from ratchet.loop.forget.selection import Selection
from ratchet.store.database import Store
from ratchet.store.erasures import chunks
from ratchet.store.failpoints import failpoint
from ratchet.store.forgotten_features import forget_batch_rows, forget_single_rows
from ratchet.store.prediction_rows import PredictionRows, Span

if TYPE_CHECKING:
    from ratchet.store.predictions import Prediction


class StoredRows:
    """The predictions of a model in the store."""

    name = "store"

    def __init__(self, store: Store, model: str) -> None:
        self._store, self._model = store, model

    def find(self, wanted: Selection) -> set[str]:
        """Return the ids of the selected predictions that have features."""
        return {row["id"] for row in self.rows(wanted.ids) if wanted.has(row["id"], row["version"], row["features"])}

    def erase(self, rows: Forgotten) -> list[str]:
        """Remove the features."""
        forget_single_rows(self._store, rows.ids)
        failpoint("erasure_store")
        forget_batch_rows(self._store, rows.ids)
        return []

    def rows(self, ids: frozenset[str] | None) -> Iterator[Prediction]:
        """Yield the rows that have features: those of some ids, or all of the model."""
        with self._store.reading() as connection:
            reader = PredictionRows(connection, "model", "version", "features")
            if ids is None:
                found = reader.between(Span(), model=self._model)
            else:
                found = (row for chunk in chunks(sorted(ids)) for row in reader.find_many(chunk).values())
            yield from (row for row in found if row["features"] is not None and row["model"] == self._model)
