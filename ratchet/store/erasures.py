"""The ledger of erasures: the predictions whose features were removed, by whom and from where, and never their values.

An erasure is ``collecting`` while its predictions are added, ``open`` while their features are removed, and
``completed`` at the end. Nothing is removed before all of its predictions are in the ledger, so that a later process
can continue an open one: the condition that selected the rows no longer finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.failpoints import failpoint
from ratchet.store.tables import erased_predictions, erasures
from ratchet.store.timestamps import iso_utc

State = Literal["collecting", "open", "completed"]
# Predictions that are written or looked up in one statement.
CHUNK = 500


@dataclass(frozen=True)
class Erasure:
    """An entry of the ledger.

    Attributes
    ----------
    selection: the columns that were searched, or ``prediction ids``.
    n_predictions: the number of predictions.
    places: rows found by kind of place.
    versions: the versions that were trained on some of the rows.
    created_at, ended_at: seconds since the epoch.
    """

    id: int
    model: str
    state: State
    actor: str
    selection: str
    n_predictions: int
    places: dict[str, int]
    versions: tuple[str, ...]
    created_at: float
    ended_at: float | None

    @property
    def when(self) -> str:
        """The time of its start."""
        return iso_utc(self.created_at)


class Erasures:
    """The erasures of one model."""

    def __init__(self, store: Store, model: str) -> None:
        self._store, self._model = store, model

    def begin(
        self, actor: str, selection: str, ids: Iterable[str], places: Mapping[str, int], versions: Sequence[str]
    ) -> Erasure:
        """Record an erasure with its predictions, in small transactions; it is open once all of them are recorded."""
        new: dict[str, Any] = {"model": self._model, "state": "collecting", "actor": actor, "selection": selection}
        new |= {"n_predictions": 0, "places": dict(places), "versions": list(versions)}
        with self._store.transaction() as connection:
            created = self._store.now(connection)
            statement = sa.insert(erasures).values(**new, created_at=created).returning(erasures.c.id)
            number = int(connection.execute(statement).scalar_one())
        count = 0
        for chunk in chunks(ids):
            rows = [{"erasure": number, "prediction_id": prediction_id} for prediction_id in chunk]
            with self._store.transaction() as connection:
                connection.execute(sa.insert(erased_predictions), rows)
            count += len(rows)
            failpoint("erasure_collecting")
        return self._update(number, state="open", n_predictions=count)

    def ids(self, erasure: Erasure) -> list[str]:
        """Return the predictions of an erasure in ascending order."""
        table = erased_predictions.c
        mine = sa.select(table.prediction_id).where(table.erasure == erasure.id).order_by(table.prediction_id)
        with self._store.reading() as connection:
            return list(connection.scalars(mine))

    def complete(self, erasure: Erasure) -> Erasure:
        """Record that nothing is left to do."""
        with self._store.reading() as connection:
            ended = self._store.now(connection)
        return self._update(erasure.id, state="completed", ended_at=ended)

    def get(self, number: int) -> Erasure:
        """Return an erasure by its number.

        Raises
        ------
        LookupError: this model has no such erasure.
        """
        found = self._select(erasures.c.id == number)
        if not found:
            raise LookupError(number)
        return found[0]

    def history(self) -> list[Erasure]:
        """Return the erasures of which something was removed or will be, newest first."""
        return self._select(erasures.c.state != "collecting")

    def open(self) -> list[Erasure]:
        """Return the erasures that were interrupted, oldest first."""
        return self._select(erasures.c.state == "open")[::-1]

    def discard_unstarted(self) -> None:
        """Delete the erasures that were interrupted before all of their predictions were recorded."""
        for erasure in self._select(erasures.c.state == "collecting"):
            with self._store.transaction() as connection:
                connection.execute(sa.delete(erased_predictions).where(erased_predictions.c.erasure == erasure.id))
                connection.execute(sa.delete(erasures).where(erasures.c.id == erasure.id))

    def of_prediction(self, prediction_id: str) -> Erasure | None:
        """Return the newest erasure of a prediction; None if there is none."""
        of_it = sa.select(erased_predictions.c.erasure).where(erased_predictions.c.prediction_id == prediction_id)
        return next(iter(self._select(erasures.c.id.in_(of_it))), None)

    def _update(self, number: int, **values: Any) -> Erasure:
        with self._store.transaction() as connection:
            connection.execute(sa.update(erasures).where(erasures.c.id == number).values(**values))
        return self.get(number)

    def _select(self, where: sa.ColumnElement[bool]) -> list[Erasure]:
        mine = sa.select(erasures).where(erasures.c.model == self._model, where).order_by(erasures.c.id.desc())
        with self._store.reading() as connection:
            rows = connection.execute(mine).mappings().all()
        return [Erasure(**{**row, "versions": tuple(row["versions"])}) for row in rows]


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Yield ids in lists of at most ``CHUNK``."""
    remaining = iter(ids)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
