"""Find the features of a person's predictions, and remove them from every place.

The erasure is in the ledger, with all of its predictions, before the first feature is removed. Each place can repeat
its part, and the store is the last one, so that an interrupted erasure is continued by the next call for the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from ratchet.data.row_identities import prediction_ids
from ratchet.loop.forget.archived_rows import ArchivedRows
from ratchet.loop.forget.journal_rows import JournalRows
from ratchet.loop.forget.places import Forgotten, Place
from ratchet.loop.forget.reports import forget_in_reports
from ratchet.loop.forget.selection import Selection
from ratchet.loop.forget.snapshot_files import SnapshotFiles
from ratchet.loop.forget.stored_rows import StoredRows
from ratchet.loop.training_runs import TrainingRuns
from ratchet.registry.model_version import Version
from ratchet.registry.version_files import readable_schema, trained_on
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.archive import archive_lease
from ratchet.store.database import Store
from ratchet.store.erasures import Erasure, Erasures
from ratchet.store.failpoints import failpoint
from ratchet.store.forgotten_features import wipe_free_space

# Seconds until another process may continue after this one was killed.
_LEASE = 20.0


@dataclass(frozen=True)
class Found:
    """The selected predictions whose features are stored.

    Attributes
    ----------
    ids: of all of them, in ascending order.
    places: the number of them by kind of place; one prediction can be in several.
    trained: the versions that were fitted on some of them.
    unknown: the versions whose training rows are unknown.
    """

    ids: list[str]
    places: dict[str, int]
    trained: tuple[str, ...]
    unknown: tuple[str, ...]


class Forgetting:
    """The erasures of one model in one home.

    Parameters
    ----------
    versions: the registered versions of the model.
    others: places that the library does not know, such as those of ZenML.
    """

    def __init__(
        self, settings: Settings, store: Store, model: str, versions: Sequence[Version], others: Sequence[Place] = ()
    ) -> None:
        self._settings, self._store, self._model = settings, store, model
        self._versions, self._others = versions, others
        self.ledger = Erasures(store, model)
        # The store is last: the other places find by it what they have to remove.
        self._archived, self._stored = ArchivedRows(settings, model), StoredRows(store, model)
        self._places: list[Place] = [
            JournalRows(settings, store, model),
            SnapshotFiles(settings, store, model),
            *others,
            self._archived,
            self._stored,
        ]

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep runs of continuous training, retention and other erasures of the model away while a block runs.

        Raises
        ------
        StateError: one of them is in progress.
        """
        training = TrainingRuns(self._store, self._model).lease_name
        with (
            leases.held(self._store, training, _LEASE, wait=0.0, renewed=True),
            archive_lease(self._store),
        ):
            yield

    def find(self, wanted: Selection) -> Found:
        """Return the selected predictions whose features are in some place.

        Raises
        ------
        RatchetError: a place cannot be read.
        """
        by_place = {place.name: place.find(wanted) for place in self._places}
        ids = sorted(set[str]().union(*by_place.values()))
        for place in self._others:  # they know ids and no values
            by_place[place.name] |= place.find(Selection(ids=frozenset(ids)))
        trained, unknown = trained_on(self._settings, self._versions, prediction_ids(ids))
        return Found(
            ids=ids,
            places={name: len(found) for name, found in by_place.items()},
            trained=tuple(version.version for version in trained),
            unknown=tuple(version.version for version in unknown),
        )

    def forget(self, found: Found, wanted: Selection, actor: str) -> tuple[Erasure, list[str]]:
        """Remove the features of predictions; return the entry of the ledger, and what was not reached.

        Raises
        ------
        RatchetError: a place cannot be written; ``resume`` continues.
        """
        erasure = self.ledger.begin(actor, wanted.description, found.ids, found.places, found.trained)
        return self.erase(erasure)

    def resume(self) -> list[tuple[Erasure, list[str]]]:
        """Continue the erasures that were interrupted."""
        self.ledger.discard_unstarted()
        return [self.erase(erasure) for erasure in self.ledger.open()]

    def erase(self, erasure: Erasure) -> tuple[Erasure, list[str]]:
        """Remove the features of an erasure from all places; one that is completed is repeated in this home."""
        failpoint("erasure_begun")
        ids = frozenset(self.ledger.ids(erasure))
        rows = Forgotten(erasure.id, ids, self._texts(ids) - self._categories_without(erasure))
        notes = forget_in_reports(self._settings, self._store, self._model, rows.texts)
        for place in self._places:
            notes += place.erase(rows)
            failpoint(f"erasure_after_{place.name}")
        wipe_free_space(self._store)
        failpoint("erasure_wiped")
        return self.ledger.complete(erasure), notes

    def _texts(self, ids: frozenset[str]) -> frozenset[str]:
        """Return the values of categories and texts of some predictions, by which reports name them."""
        rows = chain(self._stored.rows(ids), self._archived.rows(ids))
        values = (value for row in rows for value in (row["features"] or {}).values())
        return frozenset(value for value in values if isinstance(value, str) and value)

    def _categories_without(self, erasure: Erasure) -> set[str]:
        """Return the categories of the versions that were not trained on the rows: other people have them too."""
        others = (version for version in self._versions if version.version not in erasure.versions)
        schemas = filter(None, (readable_schema(self._settings, version) for version in others))
        return {name for schema in schemas for field in schema.features for name in field.categories or ()}
