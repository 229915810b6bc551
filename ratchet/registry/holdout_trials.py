"""The challengers that were compared with a champion on the same held-out rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from ratchet.data.row_identities import Hashes, RowIdentities, mix
from ratchet.registry.gates.champion import evidence_of
from ratchet.registry.gates.contract import GateInput, Result
from ratchet.store.database import Store
from ratchet.store.tables import holdout_trials

# Hashes in a sketch of a set of rows, which estimate a share of a half to about 0.03.
_SKETCH = 256
# Trials with at least this share of the rows of a new one count as trials on the same holdout.
_SHARED = 0.5
# The number of newest trials that are compared.
_MOST = 2000


@dataclass(frozen=True)
class Sketch:
    """The rows of a trial, each set of hashes as its ``_SKETCH`` smallest (bottom-k sketch: E. Cohen and H. Kaplan,
    "Summarizing data using bottom-k sketches", 2007).

    Attributes
    ----------
    source: as in ``RowIdentities``.
    ids: of the rows.
    contents: of the rows with the number of times that their content occurred before, so that equal rows count by
        multiplicity. An earlier release stored rows of unique content alone, or none where they were the minority.
    """

    source: str
    ids: Hashes
    contents: Hashes

    @classmethod
    def of(cls, rows: RowIdentities) -> Sketch:
        """Return the sketch of some rows."""
        return cls(rows.source, np.sort(rows.ids)[:_SKETCH], np.sort(_numbered(rows.contents))[:_SKETCH])

    def shared_with(self, earlier: Sketch) -> float:
        """Return the estimated share of these rows that are in another trial, too."""
        if self.source == earlier.source:
            return _shared(self.ids, earlier.ids)
        return _shared(self.contents, earlier.contents)


def tried_on_holdout(store: Store, given: GateInput) -> int:
    """Record the trial of a challenger, if it is compared with a champion; return its number on its held-out rows."""
    evidence = evidence_of(given)
    if isinstance(evidence, Result) or given.champion is None:
        return 1
    # One interval answers for every policy and margin: with its probability, the true difference is not below its end.
    decisive = {
        "models": [given.challenger.digest, given.champion.digest],
        "metric": given.config.evaluate.primary_metric,
        "promote": given.config.promote.model_dump(include={"confidence", "bootstrap"}),
        "seed": given.config.seed,
    }
    return HoldoutTrials(store, given.config.model).enter(evidence.identities, json.dumps(decisive, sort_keys=True))


class HoldoutTrials:
    """The trials of one model's challengers."""

    def __init__(self, store: Store, model: str) -> None:
        self._store, self._model = store, model

    def enter(self, rows: RowIdentities, decisive: str) -> int:
        """Record a trial before it is made; return its number among the trials on the same holdout, from 1.

        A holdout is the same if at least half of the rows were in the other trial. Rows are recognised by their
        identity, and between data versions by content, where equal rows count by multiplicity. A trial of equal rows
        and equal ``decisive`` has one number however often it is made, since its outcome is the same.

        Parameters
        ----------
        rows: the held-out rows that are new to both models.
        decisive: everything else that decides the outcome, such as both packages and the metric.

        Raises
        ------
        StateError: the store cannot be used.
        """
        table, sketch = holdout_trials.c, Sketch.of(rows)
        key = hashlib.sha256(decisive.encode() + np.sort(rows.ids).tobytes()).hexdigest()
        hashes = {"ids": sketch.ids.tobytes(), "contents": sketch.contents.tobytes()}
        new = {"model": self._model, "trial": key, "source": sketch.source, **hashes}
        mine = sa.and_(table.model == self._model, table.trial == key)
        with self._store.transaction(lock=f"trials of {self._model}") as connection:
            self._store.insert_new(connection, holdout_trials, **new, created_at=self._store.now(connection))
            own = connection.scalar(sa.select(table.id).where(mine))
            before = sa.and_(table.model == self._model, table.id < own)
            columns = sa.select(table.source, table.ids, table.contents).where(before)
            earlier = connection.execute(columns.order_by(table.id.desc()).limit(_MOST)).all()
        sketches = (Sketch(source, _hashes(ids), _hashes(contents)) for source, ids, contents in earlier)
        return 1 + sum(sketch.shared_with(other) >= _SHARED for other in sketches)


def _numbered(contents: Hashes) -> Hashes:
    """Return a hash for each row, of its content and of how many equal rows precede it.

    The first row of a content keeps the hash of the content, so that sketches of earlier releases still compare.
    """
    ordered = np.sort(contents)
    before = (np.arange(len(ordered)) - np.searchsorted(ordered, ordered)).astype(np.uint64)
    return np.where(before == 0, ordered, mix(ordered ^ mix(before, "number"), "occurrence"))


def _hashes(stored: bytes) -> Hashes:
    return np.frombuffer(stored, dtype=np.uint64)


def _shared(new: Hashes, old: Hashes) -> float:
    """Return the estimated share of a set that is in another set, from their sketches."""
    full = [sketch[-1] for sketch in (new, old) if len(sketch) == _SKETCH]
    known = new[new <= min(full)] if full else new
    return float(np.isin(known, old).mean()) if len(known) else float(len(new) > 0 and len(old) > 0)
