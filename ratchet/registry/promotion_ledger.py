"""The ledger: every change of what is in Production, its intent before and its completion after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.tables import promotions
from ratchet.store.timestamps import iso_utc

Kind = Literal["promote", "rollback", "repair"]
State = Literal["intended", "completed", "abandoned", "refused"]


@dataclass(frozen=True)
class Entry:
    """One change of the production pointer.

    Attributes
    ----------
    id: its place in the ledger.
    operation_id: the same however often the operation is tried; unique to the model.
    kind: promote, rollback, or repair.
    state: intended (begun), completed, abandoned (it never came to be), or refused (by the gate).
    from_version, to_version: what was and what should be in Production.
    reason, actor: why and who.
    run_id, data_version, digest: of the version that goes in.
    gate: the gate's checks, each with name, figure, limit and verdict.
    token: the fencing token of the lease it was done under.
    created_at, ended_at: seconds since the epoch.
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

    @property
    def when(self) -> str:
        """When it was completed or, unfinished, begun: ISO 8601, UTC."""
        return iso_utc(self.ended_at or self.created_at)


class Ledger:
    """One model's entries.

    Parameters
    ----------
    store: where the table is.
    model: the registered model's name.
    """

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._model = model
        self._mine = promotions.c.model == model

    def intend(self, **values: Any) -> Entry:
        """Write down what is about to be done; an abandoned attempt at the same operation makes room."""
        return self._write("intended", None, values)

    def record(self, state: State, **values: Any) -> Entry:
        """Write down at once what has happened: a refusal, or a repair."""
        return self._write(state, 0.0, values)

    def end(self, entry: Entry, state: State) -> Entry:
        """Write down what became of an intent; one that was ended or tried again meanwhile is left as it is."""
        with self._store.transaction() as connection:
            where = promotions.c.id == entry.id
            open_still = sa.and_(where, promotions.c.state == "intended", promotions.c.token == entry.token)
            ended = self._store.now(connection)
            connection.execute(sa.update(promotions).where(open_still).values(state=state, ended_at=ended))
            return self._one(connection, where)

    def find(self, operation_id: str) -> Entry | None:
        """The entry of an operation."""
        return next(iter(self._all(promotions.c.operation_id == operation_id, limit=1)), None)

    def unfinished(self) -> Sequence[Entry]:
        """Intents that were neither completed nor abandoned, as a crash leaves them, oldest first."""
        return list(reversed(self._all(promotions.c.state == "intended")))

    def last_completed(self) -> Entry | None:
        """The newest change that came to be."""
        return next(iter(self._all(promotions.c.state == "completed", limit=1)), None)

    def counts(self, most: int) -> dict[tuple[Kind, State], int]:
        """How many entries there are by kind and state, counted over the newest ``most``."""
        newest = sa.select(promotions.c.kind, promotions.c.state).where(self._mine)
        rows = newest.order_by(promotions.c.id.desc()).limit(most).subquery()
        counted = sa.select(rows.c.kind, rows.c.state, sa.func.count()).group_by(rows.c.kind, rows.c.state)
        with self._store.reading() as connection:
            return {(kind, state): count for kind, state, count in connection.execute(counted)}

    def history(self, limit: int | None = None) -> Sequence[Entry]:
        """Entries, newest first."""
        return self._all(sa.true(), limit=limit)

    def teeth(self) -> list[str]:
        """The versions one can step back through, oldest first, the one in Production last.

        A promotion adds a tooth, a rollback takes one off; a repair that put another version into Production
        counts as a promotion, unless the version is the tooth below, which makes it a rollback.
        """
        done = sa.select(promotions.c.kind, promotions.c.to_version).where(
            self._mine, promotions.c.state == "completed"
        )
        teeth: list[str] = []
        with self._store.reading() as connection:
            for kind, version in connection.execute(done.order_by(promotions.c.id)):
                if kind != "promote" and len(teeth) > 1 and teeth[-2] == version:
                    teeth.pop()
                elif not teeth or teeth[-1] != version:
                    teeth.append(version)
        return teeth

    def _write(self, state: State, ended: float | None, values: dict[str, Any]) -> Entry:
        with self._store.transaction() as connection:
            now = self._store.now(connection)
            row = {"model": self._model, "state": state, "created_at": now, **values}
            row["ended_at"] = None if ended is None else now
            mine = sa.and_(self._mine, promotions.c.operation_id == values["operation_id"])
            # An attempt that came to nothing makes room for the next one, which gets a place of its own.
            connection.execute(sa.delete(promotions).where(mine, promotions.c.state == "abandoned"))
            connection.execute(sa.insert(promotions).values(**row))
            return self._one(connection, mine)

    def _all(self, where: Any, limit: int | None = None) -> list[Entry]:
        statement = sa.select(promotions).where(self._mine, where).order_by(promotions.c.id.desc()).limit(limit)
        with self._store.reading() as connection:
            return [Entry(**row._mapping) for row in connection.execute(statement)]

    def _one(self, connection: sa.Connection, where: Any) -> Entry:
        return Entry(**connection.execute(sa.select(promotions).where(where)).one()._mapping)
