"""What retention would do, and doing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from ratchet.errors import RegistryError, one_line
from ratchet.loop.retention import Limits, files
from ratchet.loop.retention.day_files import DayFiles
from ratchet.loop.retention.mover import Moved, Mover, leaving
from ratchet.loop.retention.needs import Needs, needs_of
from ratchet.loop.retention.tables import TABLES
from ratchet.settings import Settings
from ratchet.store.archive import Archive, archive_lease
from ratchet.store.clock import store_time
from ratchet.store.database import Store
from ratchet.store.free_pages import free_pages, give_back, vacuum
from ratchet.store.predictions import first_id
from ratchet.store.tables import (
    feedback,
    heartbeats,
    holdout_trials,
    late_predictions,
    prediction_batches,
    predictions,
    promotions,
    training_runs,
)

# Tables that have a row for each model that the others have rows of, or an index by model.
_NAMED = (promotions, training_runs, heartbeats, feedback, holdout_trials, prediction_batches, late_predictions)


@dataclass
class Outcome:
    """What leaves, or has left, the store and the home.

    Attributes
    ----------
    action: what happens to rows: ``archive`` or ``delete``; empty if no limit is set.
    archive: where archived rows go.
    moved: by table and model, and by kind of file with an empty model.
    notes: what stays and why.
    given_back: bytes by which the file of the store got smaller.
    free: bytes in that file that new rows will use; None for PostgreSQL.
    """

    action: str
    archive: str
    moved: list[Moved] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    given_back: int = 0
    free: int | None = None


def plan(settings: Settings, store: Store) -> Outcome:
    """Return what would leave; change nothing.

    Raises
    ------
    StateError: the store cannot be read.
    """
    limits, outcome = Limits.of(settings), _nothing(settings)
    if not limits.are_set:
        return outcome
    now = store_time(store)
    for needs in _needs(store, limits, now, outcome):
        found = (leaving(store, table, needs, limits) for table in TABLES)
        outcome.moved += [moved for moved in found if moved is not None]
    _files(settings, store, limits, now, outcome, remove=False)
    return _with_space(store, outcome)


def retain(settings: Settings, store: Store, *, anew: bool = False) -> Outcome:
    """Move or delete what is past the limits and is not needed, and give free space back to the file system.

    Parameters
    ----------
    anew: write the file of an SQLite store anew, which gives all free space back; other writers wait.

    Raises
    ------
    StateError: the store or the archive cannot be used, or another process holds the lease; what was moved before stays
        moved, and a repetition continues.
    """
    limits, outcome = Limits.of(settings), _nothing(settings)
    with archive_lease(store, wait=0.0):
        if limits.are_set:
            now = store_time(store)
            with Mover(store, DayFiles(Archive(settings)) if settings.retention == "archive" else None) as mover:
                for needs in _needs(store, limits, now, outcome):
                    moved = (mover.move(table, needs, limits) for table in TABLES)
                    outcome.moved += [each for each in moved if each is not None]
            _files(settings, store, limits, now, outcome, remove=True)
            store.checkpoint()
            outcome.given_back = give_back(store)
        if anew:
            outcome.given_back += vacuum(store)
    return _with_space(store, outcome)


def _nothing(settings: Settings) -> Outcome:
    action = settings.retention if Limits.of(settings).are_set else ""
    return Outcome(action, settings.archive_root)


def _needs(store: Store, limits: Limits, now: float, outcome: Outcome) -> Iterator[Needs]:
    for model in _models(store, limits, now):
        needs = needs_of(store, model, now)
        if needs.open_run is not None:
            outcome.notes.append(
                f"{model}: run {needs.open_run} of continuous training is open: its predictions and feedback stay"
            )
        yield needs


def _models(store: Store, limits: Limits, now: float) -> list[str]:
    """Return the names of all models with rows that may be past the limits."""
    old = sa.select(predictions.c.model).distinct()
    if limits.rows is None and limits.age is not None:
        old = old.where(predictions.c.id < first_id(now - limits.age))
    with store.reading() as connection:
        found = set(connection.scalars(old))
        for table in _NAMED:
            found.update(connection.scalars(sa.select(table.c.model).distinct()))
    return sorted(found)


def _files(settings: Settings, store: Store, limits: Limits, now: float, outcome: Outcome, *, remove: bool) -> None:
    """Add the files that are too old; there is no limit to their number."""
    if limits.age is None:
        return
    for kind in files.FILES:
        try:
            found = kind.find(settings, store, now - limits.age)
            if not found:
                continue
            size, oldest = sum(map(files.size_of, found)), min(path.stat().st_mtime for path in found)
            if remove:
                files.remove(settings, kind, found)
        except (RegistryError, OSError) as error:  # also where another process removes a file meanwhile
            outcome.notes.append(f"{kind.name} stay: {one_line(error)}")
            continue
        outcome.moved.append(Moved(kind.name, "", len(found), size, oldest))


def _with_space(store: Store, outcome: Outcome) -> Outcome:
    found = free_pages(store)
    if found is not None:
        outcome.free = found.free * found.page_size
        if found.excess and not found.incremental:
            outcome.notes.append(
                f"{outcome.free / 1e6:,.1f} MB of the store's file are free: new rows use them; --vacuum makes the file"
                " smaller, and no other process can write meanwhile"
            )
    return outcome
