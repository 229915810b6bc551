"""The runs of continuous training: at most one for each watermark, and one that crashed is picked up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from ratchet.registry.promotion_ledger import Ledger
from ratchet.store.database import Store
from ratchet.store.tables import feedback, training_runs
from ratchet.store.timestamps import iso_utc

RunState = Literal["open", "promoted", "refused", "unchanged", "failed"]
# Feedback that a look for the newest label goes through.
_MOST_FEEDBACK = 10_000
# What can begin a run by itself (``ratchet.loop.triggers``, which needs more than a service has).
TRIGGER_NAMES = ("every_k_labels", "drift", "quality_drop", "cron")
# A run that was begun so often without an end, since it was killed again and again, is given up.
MOST_ATTEMPTS = 20


@dataclass(frozen=True)
class TrainingRun:
    """One run, begun for the labels up to a watermark.

    Attributes
    ----------
    id: its number.
    watermark: the number of the newest feedback that it takes.
    config_hash: of the config that it runs.
    state: open until it has ended: promoted, refused, unchanged (nothing new came out), or failed.
    reason: what began it.
    triggers: the names of those that fired, separated by commas; empty where a person began it.
    attempts: how often it was begun.
    snapshot: the hash of its training rows.
    version, run_id: the registered version and the MLflow run that came of it.
    outcome: how it ended, in words.
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
        """The id of its one change of what is in Production."""
        return f"continuous-training-{self.id}"

    @property
    def when(self) -> str:
        """When it ended or, open, was begun: ISO 8601, UTC."""
        return iso_utc(self.ended_at or self.created_at)


def label_to_version(store: Store, model: str) -> float | None:
    """How long the loop took when it last promoted: from the newest label that the run took to the completed promotion.

    Returns
    -------
    Seconds; None where no run has promoted yet, or there is no label among the newest feedback that it took.
    """
    run = TrainingRuns(store, model).newest("promoted")
    if run is None:
        return None
    taken = sa.select(feedback.c.created_at, feedback.c.target, feedback.c.seq).where(
        feedback.c.model == model, feedback.c.seq <= run.watermark
    )
    # What only says right or wrong is no label; where there is nothing else, the search has to end.
    newest = taken.order_by(feedback.c.seq.desc()).limit(_MOST_FEEDBACK).subquery()
    labels = sa.select(newest.c.created_at).where(newest.c.target.is_not(None)).order_by(newest.c.seq.desc())
    entry = Ledger(store, model).find(run.operation_id)
    with store.reading() as connection:
        labelled = connection.scalar(labels.limit(1))
    if labelled is None or entry is None or entry.ended_at is None:
        return None
    return max(0.0, entry.ended_at - float(labelled))


class TrainingRuns:
    """One model's runs.

    Parameters
    ----------
    store: where the table is.
    model: the registered model's name.
    """

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._mine = training_runs.c.model == model
        self._model = model

    @property
    def lease_name(self) -> str:
        """The lease that runs are made under."""
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
        """Write down that a run is wanted; None where there was one for this watermark and config already.

        Parameters
        ----------
        triggers: the names of those that fired; none where a person begins it.
        after: the number of the newest run that the wish rests upon, 0 for none; None too where there is a newer one.
        """
        key = {"model": self._model, "watermark": watermark, "config_hash": config_hash}
        newest = sa.select(sa.func.max(training_runs.c.id)).where(self._mine)
        with self._store.exclusive(f"opening of {self.lease_name}"), self._store.transaction() as connection:
            if after is not None and (connection.scalar(newest) or 0) != after:
                return None
            now = self._store.now(connection)
            new = {**key, "state": "open", "reason": reason, "triggers": ",".join(triggers)}
            new |= {"attempts": 0, "created_at": now}
            if not self._store.insert_new(connection, training_runs, **new):
                return None
            where = sa.and_(*(training_runs.c[name] == value for name, value in key.items()))
            return TrainingRun(**connection.execute(sa.select(training_runs).where(where)).one()._mapping)

    def unfinished(self) -> TrainingRun | None:
        """The oldest run that has not ended."""
        return self._first(training_runs.c.state == "open", training_runs.c.id)

    def last(self) -> TrainingRun | None:
        """The newest run, ended or not."""
        return self._first(sa.true(), training_runs.c.id.desc())

    def find(self, watermark: int, config_hash: str) -> TrainingRun | None:
        """The run of a watermark and config."""
        where = sa.and_(training_runs.c.watermark == watermark, training_runs.c.config_hash == config_hash)
        return self._first(where, training_runs.c.id)

    def get(self, number: int) -> TrainingRun | None:
        """A run by its number."""
        return self._first(training_runs.c.id == number, training_runs.c.id)

    def newest(self, state: RunState) -> TrainingRun | None:
        """The newest run in a state."""
        return self._first(training_runs.c.state == state, training_runs.c.id.desc())

    def counts(self, most: int) -> list[tuple[RunState, tuple[str, ...], int]]:
        """How many runs there are by state and by the triggers that fired, counted over the newest ``most``."""
        newest = sa.select(training_runs.c.state, training_runs.c.triggers).where(self._mine)
        rows = newest.order_by(training_runs.c.id.desc()).limit(most).subquery()
        counted = sa.select(rows.c.state, rows.c.triggers, sa.func.count()).group_by(rows.c.state, rows.c.triggers)
        with self._store.reading() as connection:
            return [
                (state, tuple(filter(None, triggers.split(","))), count)
                for state, triggers, count in connection.execute(counted)
            ]

    def history(self, limit: int) -> list[TrainingRun]:
        """The newest runs, newest first."""
        statement = sa.select(training_runs).where(self._mine).order_by(training_runs.c.id.desc()).limit(limit)
        with self._store.reading() as connection:
            return [TrainingRun(**row._mapping) for row in connection.execute(statement)]

    def reopen(self, run: TrainingRun) -> TrainingRun:
        """Make a run that failed open again, since somebody has mended what was wrong."""
        with self._store.transaction() as connection:
            one = sa.and_(training_runs.c.id == run.id, training_runs.c.state == "failed")
            connection.execute(sa.update(training_runs).where(one).values(state="open", attempts=0, ended_at=None))
            return self._one(connection, run.id)

    def put_off(self, run: TrainingRun) -> TrainingRun:
        """Take an attempt back that could not be made, since MLflow or the store was away."""
        return self._update(run, attempts=training_runs.c.attempts - 1)

    def begin(self, run: TrainingRun, config_hash: str) -> TrainingRun:
        """Count an attempt, by the config that it is made with: an earlier one may have been made with another.

        A run that turns into one which was made already has failed.
        """
        other = self.find(run.watermark, config_hash)
        if other is not None and other.id != run.id:
            return self.end(run, "failed", f"its config was changed before its end; run {other.id} had the new one")
        return self._update(run, attempts=training_runs.c.attempts + 1, config_hash=config_hash)

    def note(self, run: TrainingRun, **values: Any) -> TrainingRun:
        """Write down what is known of a run by now."""
        return self._update(run, **values)

    def end(self, run: TrainingRun, state: RunState, outcome: str, **values: Any) -> TrainingRun:
        """Write down how a run ended; one that has ended is left as it is."""
        return self._update(run, state=state, outcome=outcome, ended_at=..., **values)

    def _update(self, run: TrainingRun, **values: Any) -> TrainingRun:
        one = training_runs.c.id == run.id
        with self._store.transaction() as connection:
            if values.get("ended_at") is ...:
                values["ended_at"] = self._store.now(connection)
            connection.execute(sa.update(training_runs).where(one, training_runs.c.state == "open").values(**values))
            return self._one(connection, run.id)

    @staticmethod
    def _one(connection: sa.Connection, number: int) -> TrainingRun:
        row = connection.execute(sa.select(training_runs).where(training_runs.c.id == number)).one()
        return TrainingRun(**row._mapping)

    def _first(self, where: Any, order: Any) -> TrainingRun | None:
        statement = sa.select(training_runs).where(self._mine, where).order_by(order).limit(1)
        with self._store.reading() as connection:
            row = connection.execute(statement).one_or_none()
            return None if row is None else TrainingRun(**row._mapping)
