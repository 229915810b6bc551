"""Predictions in the journal of this home: they go into the store first, and set-aside entries are removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ratchet.data.atomic_write import write_whole
from ratchet.errors import StateError
from ratchet.inference.journal import BAD, Journal
from ratchet.inference.journal_mover import move_once
from ratchet.inference.journal_rows import from_line, to_line
from ratchet.loop.forget.places import Forgotten
from ratchet.loop.forget.selection import Selection
from ratchet.private_files import FILE
from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.failpoints import failpoint
from ratchet.store.prediction_batches import PredictionBatch, split_id
from ratchet.store.predictions import Entry, Prediction, insert_predictions

# Seconds to wait for a service: it closes a segment after 10 s, and removes it once its rows are in the store.
_PATIENCE = 60.0
_POLL = 0.1


class JournalRows:
    """The journal of a home; when ``find`` and ``erase`` return, the rows of earlier answers are in the store alone."""

    name = "journal"

    def __init__(self, settings: Settings, store: Store, model: str, patience: float = _PATIENCE) -> None:
        self._journal, self._store, self._model = Journal(settings.home / "journal"), store, model
        self._patience = patience

    def find(self, wanted: Selection) -> set[str]:
        """Return the ids of the selected rows that were set aside; the others are in the store afterwards."""
        began = time.time()
        self._wait(lambda: self._journal.moved_until() >= began)
        return {
            row["id"]
            for path in self._set_aside()
            for _, entry in _entries(path)
            for row in _rows(entry)
            if row["model"] == self._model and wanted.has(row["id"], row["version"], row["features"])
        }

    def erase(self, rows: Forgotten) -> list[str]:
        """Wait until the segments of earlier answers are gone, and remove set-aside rows."""
        earlier = set(self._journal.segments())
        self._wait(lambda: not earlier & set(self._journal.segments()))
        unreadable = 0
        for path in self._set_aside():
            lines = [(line, _without(entry, rows.ids)) for line, entry in _entries(path)]
            unreadable += sum(entry is None for _, entry in _entries(path))
            kept = [line if changed is None else changed for line, changed in lines]
            if kept != [line for line, _ in lines]:
                _rewrite(path, b"".join(kept))
                failpoint("erasure_journal")
        return [f"{unreadable} damaged entries in {self._journal.folder}/*{BAD}"] if unreadable else []

    def _wait(self, done: Callable[[], bool]) -> None:
        """Move rows into the store, or wait until a service has done so."""
        end = time.monotonic() + self._patience
        while self._journal.segments() and not done():
            moved = move_once(self._journal, lambda entries: insert_predictions(self._store, entries))
            if time.monotonic() > end:
                raise StateError(
                    f"{self._journal.folder}: the service has not moved its rows into the store for"
                    f" {self._patience:g} s: restart it, and run the same command again"
                )
            if not moved or not done():
                time.sleep(_POLL)

    def _set_aside(self) -> list[Path]:
        return sorted(self._journal.folder.glob(f"*{BAD}"))


def _entries(path: Path) -> Iterator[tuple[bytes, Entry | None]]:
    """Yield the lines of a file of set-aside entries, each with its entry; None if it cannot be read."""
    for line in path.read_bytes().splitlines(keepends=True):
        entry = None
        with suppress(ValueError):
            entry = from_line(line.rstrip(b"\n"))
        yield line, entry


def _rows(entry: Entry | None) -> Iterator[Prediction]:
    if isinstance(entry, PredictionBatch):
        yield from entry.rows()
    elif entry is not None:
        yield entry


def _without(entry: Entry | None, ids: frozenset[str]) -> bytes | None:
    """Return the line of an entry without some rows, empty for a single row; None if it has none of them."""
    if isinstance(entry, PredictionBatch):
        places = filter(None, map(split_id, ids))
        indices = {index for batch_id, index in places if batch_id == entry.id}
        return to_line(entry.without_features(indices)) if indices else None
    return b"" if entry is not None and entry["id"] in ids else None


def _rewrite(path: Path, content: bytes) -> None:
    try:
        if content:
            write_whole(path, lambda partial: partial.write_bytes(content), mode=FILE)
        else:
            path.unlink()
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}") from None
