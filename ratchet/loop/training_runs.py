"""The runs of continuous training: at most one for each watermark and config; a crashed run is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from ratchet.monitoring.production_rows import count_labels
from ratchet.registry.promotion_ledger import Ledger
from ratchet.store.database import Store
from ratchet.store.tables import feedback, training_runs
from ratchet.store.timestamps import iso_utc

RunState = Literal["open", "promoted", "refused", "unchanged", "failed"]
# The triggers of ``ratchet.loop.triggers``, which imports more than a service needs.
TRIGGER_NAMES = ("every_k_labels", "drift", "quality_drop", "cron")
# A run that was killed this many times has failed.
MOST_ATTEMPTS = 20
# Feedback rows that the search for the newest label reads.
_MOST_FEEDBACK = 10_000
# Labels that are counted for the status.
_MOST_LABELS = 10_000


@dataclass(frozen=True)
class TrainingRun:
    """One run, on the labels up to a watermark.

    Attributes
    ----------
    watermark: the number of the newest feedback that it uses.
    state: open until it has ended: promoted, refused, unchanged (no new version), or failed.
    reason: why it was started.
    triggers: the names of the triggers that fired, separated by commas; empty if a user started it.
    attempts: the number of times that it was started.
    snapshot: the hash of its training rows.
    version, run_id: its registered version and MLflow run.
    outcome: its end in words.
    created_at, ended_at: seconds since the epoch.
    """

    id: int
    model: str
    watermark: int
    config_hash: str
    state: RunState
    reason: str
    triggers: str
    attempts: int
    snapshot: str | None
    version: str | None
    run_id: str | None
    outcome: str | None
    created_at: float
    ended_at: float | None

    @property
    def operation_id(self) -> str:
        """The operation id of its promotion."""
        return f"continuous-training-{self.id}"

    @property
    def changed_at(self) -> float:
        """The time when it ended or, if open, was created: seconds since the epoch."""
        return self.ended_at or self.created_at

    @property
    def when(self) -> str:
        """``changed_at`` as ISO 8601, UTC."""
        return iso_utc(self.changed_at)


def labels_waiting(store: Store, model: str, last: TrainingRun | None) -> int:
    """Count the labels since the newest run, up to 10,000."""
    return count_labels(store, model, last.watermark if last else 0, _MOST_LABELS)


def label_to_version(store: Store, model: str) -> float | None:
    """Return the seconds from the newest label of the newest promoted run to its promotion; None without these."""
    run = TrainingRuns(store, model).newest("promoted")
    if run is None:
        return None
    used = sa.select(feedback.c.created_at, feedback.c.target, feedback.c.seq).where(
        feedback.c.model == model, feedback.c.seq <= run.watermark
    )
    # Feedback without a target is no label; the limit ends the search if there is only such feedback.
    newest = used.order_by(feedback.c.seq.desc()).limit(_MOST_FEEDBACK).subquery()
    labels = sa.select(newest.c.created_at).where(newest.c.target.is_not(None)).order_by(newest.c.seq.desc())
    entry = Ledger(store, model).find(run.operation_id)
    with store.reading() as connection:
        labelled = connection.scalar(labels.limit(1))
    if labelled is None or entry is None or entry.ended_at is None:
        return None
    return max(0.0, entry.ended_at - float(labelled))


class TrainingRuns:
    """One model's runs."""

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._mine = training_runs.c.model == model
        self._model = model

    @property
    def lease_name(self) -> str:
        """The name of the lease that runs are made under."""
        return f"continuous training of {self._model}"

    def open(
        self,
        watermark: int,
        config_hash: str,
        reason: str,
        *,
        triggers: Sequence[str] = (),
        after: int | None = None,
    ) -> TrainingRun | None:
        """Add an open run; return None if there is a run of this watermark and config.

        Parameters
        ----------
        triggers: the names of the triggers that fired; none if a user starts the run.
        after: the number of the newest run that the decision is based on, 0 for none; a newer run returns None too.
        """
        key = {"model": self._model, "watermark": watermark, "config_hash": config_hash}
        newest = sa.select(sa.func.max(training_runs.c.id)).where(self._mine)
        with self._store.transaction(lock=f"opening of {self.lease_name}") as connection:
            if after is not None and (connection.scalar(newest) or 0) != after:
                return None
            new = {**key, "state": "open", "reason": reason, "triggers": ",".join(triggers)}
            new |= {"attempts": 0, "created_at": self._store.now(connection)}
            if not self._store.insert_new(connection, training_runs, **new):
                return None
            return self._one(connection, *(training_runs.c[name] == value for name, value in key.items()))

    def unfinished(self) -> TrainingRun | None:
        """Return the oldest open run."""
        return self._first(training_runs.c.state == "open", training_runs.c.id)

    def last(self) -> TrainingRun | None:
        """Return the newest run, open or not."""
        return self._first(sa.true(), training_runs.c.id.desc())

    def newest(self, state: RunState) -> TrainingRun | None:
        """Return the newest run in a state."""
        return self._first(training_runs.c.state == state, training_runs.c.id.desc())

    def find(self, watermark: int, config_hash: str) -> TrainingRun | None:
        """Return the run of a watermark and config."""
        where = sa.and_(training_runs.c.watermark == watermark, training_runs.c.config_hash == config_hash)
        return self._first(where, training_runs.c.id)

    def get(self, number: int) -> TrainingRun | None:
        """Return a run by its number."""
        return self._first(training_runs.c.id == number, training_runs.c.id)

    def counts(self, most: int) -> list[tuple[RunState, tuple[str, ...], int]]:
        """Return the number of runs by state and triggers among the newest ``most``."""
        newest = sa.select(training_runs.c.state, training_runs.c.triggers).where(self._mine)
        rows = newest.order_by(training_runs.c.id.desc()).limit(most).subquery()
        counted = sa.select(rows.c.state, rows.c.triggers, sa.func.count()).group_by(rows.c.state, rows.c.triggers)
        with self._store.reading() as connection:
            return [
                (state, tuple(filter(None, triggers.split(","))), count)
                for state, triggers, count in connection.execute(counted)
            ]

    def history(self, limit: int) -> list[TrainingRun]:
        """Return the newest runs, newest first."""
        return self._select(sa.true(), training_runs.c.id.desc(), limit)

    def reopen(self, run: TrainingRun) -> TrainingRun:
        """Open a failed run again, after its cause was fixed."""
        with self._store.transaction() as connection:
            failed = sa.and_(training_runs.c.id == run.id, training_runs.c.state == "failed")
            connection.execute(sa.update(training_runs).where(failed).values(state="open", attempts=0, ended_at=None))
            return self._one(connection, training_runs.c.id == run.id)

    def begin(self, run: TrainingRun, config_hash: str) -> TrainingRun:
        """Count an attempt, and store the config that it is made with, which can differ from an earlier attempt's.

        The run has failed if there is another run of that config.
        """
        other = self.find(run.watermark, config_hash)
        if other is not None and other.id != run.id:
            return self.end(run, "failed", f"its config was changed before its end; run {other.id} had the new one")
        return self.update(run, attempts=training_runs.c.attempts + 1, config_hash=config_hash)

    def postpone(self, run: TrainingRun) -> TrainingRun:
        """Take back an attempt that failed since MLflow or the store was unavailable."""
        return self.update(run, attempts=training_runs.c.attempts - 1)

    def end(self, run: TrainingRun, state: RunState, outcome: str, **values: Any) -> TrainingRun:
        """Set the final state of an open run."""
        with self._store.reading() as connection:
            ended = self._store.now(connection)
        return self.update(run, state=state, outcome=outcome, ended_at=ended, **values)

    def update(self, run: TrainingRun, **values: Any) -> TrainingRun:
        """Set columns of an open run; a run that has ended stays as it is."""
        where = training_runs.c.id == run.id
        with self._store.transaction() as connection:
            connection.execute(sa.update(training_runs).where(where, training_runs.c.state == "open").values(**values))
            return self._one(connection, where)

    @staticmethod
    def _one(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> TrainingRun:
        return TrainingRun(**connection.execute(sa.select(training_runs).where(*where)).one()._mapping)

    def _first(self, where: Any, order: Any) -> TrainingRun | None:
        return next(iter(self._select(where, order, 1)), None)

    def _select(self, where: Any, order: Any, limit: int) -> list[TrainingRun]:
        statement = sa.select(training_runs).where(self._mine, where).order_by(order).limit(limit)
        with self._store.reading() as connection:
            return [TrainingRun(**row._mapping) for row in connection.execute(statement)]
