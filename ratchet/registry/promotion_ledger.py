"""The ledger: a row for every change of what is in Production, written before the change and completed after it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.tables import promotions
from ratchet.store.timestamps import iso_utc

if TYPE_CHECKING:  # the service reads the ledger without MLflow
    from ratchet.registry.model_version import Version

# moved: a version was moved into Production outside Ratchet.
Kind = Literal["promote", "rollback", "repair", "moved"]
State = Literal["intended", "completed", "abandoned", "refused"]


@dataclass(frozen=True)
class Entry:
    """One change of the production pointer.

    Attributes
    ----------
    id: the row's number; higher is newer.
    operation_id: the same for every attempt at an operation; unique within the model.
    state: intended (begun), completed, abandoned (it had no effect), or refused (by the gate).
    from_version, to_version: the versions in Production before and after.
    run_id, data_version, digest: of the version that goes in.
    gate: the gate's checks, each with name, figure, limit and result.
    token: the fencing token of the lease that the change was made under.
    created_at, ended_at: seconds since the epoch.
    pending: the follow-ups that failed, by name, each with the MLflow run that it belongs to.
    warnings, skipped: what could not be written after this change, and the versions that a rollback skipped, with the
        reasons; only of the operation that has just made it.
    """

    id: int
    operation_id: str
    model: str
    kind: Kind
    state: State
    from_version: str | None
    to_version: str
    reason: str
    actor: str
    run_id: str | None
    data_version: str | None
    digest: str | None
    gate: list[dict[str, Any]] | None
    token: int
    created_at: float
    ended_at: float | None
    pending: dict[str, str] | None = None
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def when(self) -> str:
        """The time when it ended or, if unfinished, began: ISO 8601, UTC."""
        return iso_utc(self.ended_at or self.created_at)


class Ledger:
    """One model's entries."""

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._model = model
        self._mine = promotions.c.model == model

    def record(
        self,
        kind: Kind,
        state: State,
        version: Version,
        *,
        before: str | None,
        reason: str,
        actor: str,
        operation_id: str | None = None,
        gate: list[dict[str, Any]] | None = None,
        token: int = 0,
    ) -> Entry:
        """Add an entry: an intent, or a refusal or repair that has ended already.

        An abandoned entry of the same operation is replaced. Without an operation id the entry gets a new one.
        """
        operation_id = operation_id or uuid.uuid4().hex
        with self._store.transaction() as connection:
            now = self._store.now(connection)
            same = sa.and_(self._mine, promotions.c.operation_id == operation_id)
            connection.execute(sa.delete(promotions).where(same, promotions.c.state == "abandoned"))
            connection.execute(
                sa.insert(promotions).values(
                    operation_id=operation_id,
                    model=self._model,
                    kind=kind,
                    state=state,
                    from_version=before,
                    to_version=version.version,
                    reason=reason,
                    actor=actor,
                    run_id=version.run_id,
                    data_version=version.lineage.get("data_version"),
                    digest=version.digest,
                    gate=gate,
                    token=token,
                    created_at=now,
                    ended_at=None if state == "intended" else now,
                )
            )
            return self._one(connection, same)

    def end(self, entry: Entry, state: State) -> Entry:
        """Set the final state of an intent; an entry that has ended or was replaced meanwhile stays as it is."""
        with self._store.transaction() as connection:
            where = promotions.c.id == entry.id
            is_open = sa.and_(where, promotions.c.state == "intended", promotions.c.token == entry.token)
            ended = self._store.now(connection)
            connection.execute(sa.update(promotions).where(is_open).values(state=state, ended_at=ended))
            return self._one(connection, where)

    def find(self, operation_id: str) -> Entry | None:
        """Return the entry of an operation."""
        return next(iter(self._select(promotions.c.operation_id == operation_id, limit=1)), None)

    def unfinished(self) -> Sequence[Entry]:
        """Return the intents that a crash left neither completed nor abandoned, oldest first."""
        return list(reversed(self._select(promotions.c.state == "intended")))

    def set_pending(self, entry: Entry, pending: dict[str, str]) -> None:
        """Store the follow-ups of an entry that have to be repeated, in place of those stored before."""
        with self._store.transaction() as connection:
            mine = sa.update(promotions).where(promotions.c.id == entry.id)
            connection.execute(mine.values(pending=pending or None))

    def with_pending(self) -> Sequence[Entry]:
        """Return the entries with follow-ups that failed, newest first."""
        return self._select(promotions.c.pending.is_not(None))

    def last_completed(self) -> Entry | None:
        """Return the newest completed change."""
        return next(iter(self._select(promotions.c.state == "completed", limit=1)), None)

    def history(self, limit: int | None = None) -> Sequence[Entry]:
        """Return entries, newest first."""
        return self._select(sa.true(), limit=limit)

    def counts(self, most: int) -> dict[tuple[Kind, State], int]:
        """Return the number of entries by kind and state among the newest ``most``."""
        newest = sa.select(promotions.c.kind, promotions.c.state).where(self._mine)
        rows = newest.order_by(promotions.c.id.desc()).limit(most).subquery()
        counted = sa.select(rows.c.kind, rows.c.state, sa.func.count()).group_by(rows.c.kind, rows.c.state)
        with self._store.reading() as connection:
            return {(kind, state): count for kind, state, count in connection.execute(counted)}

    def promoted_versions(self) -> list[str]:
        """Return the versions that successive rollbacks restore, oldest first; the last one is in Production.

        A promotion appends a version, a rollback removes those after the one that it restores. A repair, and a move
        outside Ratchet, count as a rollback if they restored the version before the last one, and else as a promotion.
        """
        done = sa.select(promotions.c.kind, promotions.c.to_version).where(
            self._mine, promotions.c.state == "completed"
        )
        promoted: list[str] = []
        with self._store.reading() as connection:
            for kind, version in connection.execute(done.order_by(promotions.c.id)):
                if kind == "rollback" and version in promoted:
                    while promoted[-1] != version:
                        promoted.pop()
                elif kind != "promote" and promoted[-2:-1] == [version]:
                    promoted.pop()
                elif promoted[-1:] != [version]:
                    promoted.append(version)
        return promoted

    def _select(self, where: Any, limit: int | None = None) -> list[Entry]:
        statement = sa.select(promotions).where(self._mine, where).order_by(promotions.c.id.desc()).limit(limit)
        with self._store.reading() as connection:
            return [Entry(**row._mapping) for row in connection.execute(statement)]

    def _one(self, connection: sa.Connection, where: Any) -> Entry:
        return Entry(**connection.execute(sa.select(promotions).where(where)).one()._mapping)
