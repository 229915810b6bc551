"""Production as the store has it: rows that were answered and what was said of them, put there without a service."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import sqlalchemy as sa

from ratchet.model.record_schema import Record
from ratchet.monitoring.production_rows import Label
from ratchet.store.database import Store
from ratchet.store.predictions import first_id, insert_predictions
from ratchet.store.tables import feedback

Shares = dict[str, float]


class Stream:
    """What one model answered, and the labels that came.

    Parameters
    ----------
    store: where to.
    model: the registered model's name.
    """

    def __init__(self, store: Store, model: str = "iris") -> None:
        self.store, self.model = store, model
        self._numbers = itertools.count(1)
        self._version_of: dict[str, str] = {}

    def answer(
        self,
        rows: Sequence[Record],
        said: Label | Sequence[Label],
        version: str = "1",
        probabilities: Shares | Sequence[Shares | None] | None = None,
        at: float | None = None,
    ) -> list[str]:
        """Rows that were answered now, or at an instant, in this order; their ids."""
        at = time.time() if at is None else at
        labels = said if isinstance(said, list | tuple) else [said] * len(rows)
        shares = probabilities if isinstance(probabilities, list | tuple) else [probabilities] * len(rows)
        ids = [f"{first_id(at)}-7000-8000-{next(self._numbers):012x}" for _ in rows]
        insert_predictions(
            self.store,
            [
                {
                    "id": found,
                    "created_at": at,
                    "model": self.model,
                    "version": version,
                    "features": features,
                    "prediction": label,
                    "score": share[str(label)] if share else None,
                    "probabilities": share,
                    "latency": 0.001,
                }
                for found, features, label, share in zip(ids, rows, labels, shares, strict=True)
            ],
        )
        self._version_of |= dict.fromkeys(ids, version)
        return ids

    def label(
        self,
        ids: Sequence[str],
        targets: Label | Sequence[Label | None] | None,
        *,
        correct: bool | None = None,
        source: str = "user",
    ) -> list[int]:
        """Say what was right, in this order; a row that was labelled already is corrected. Their numbers."""
        labels = targets if isinstance(targets, list | tuple) else [targets] * len(ids)
        with self.store.transaction() as connection:
            return [
                self._say(connection, found, target, correct, source) for found, target in zip(ids, labels, strict=True)
            ]

    def _say(
        self, connection: sa.Connection, prediction_id: str, target: Label | None, correct: bool | None, source: str
    ) -> int:
        mine = feedback.c.prediction_id == prediction_id
        revision = connection.scalar(sa.select(sa.func.max(feedback.c.revision)).where(mine)) or 0
        new = sa.insert(feedback).values(
            prediction_id=prediction_id,
            revision=revision + 1,
            model=self.model,
            version=self._version_of[prediction_id],
            target=target,
            correct=correct,
            source=source,
            created_at=time.time(),
        )
        seq = int(connection.execute(new.returning(feedback.c.seq)).scalar_one())
        before = sa.and_(mine, feedback.c.revision == revision)
        connection.execute(sa.update(feedback).where(before).values(superseded_by=seq))
        return seq


def records(rows: pd.DataFrame) -> list[Record]:
    """Rows as clients send them: None for a missing value."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in rows.to_dict(orient="records")
    ]


def statements(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that the store is asked, with its parameters, from here on; for ``contextmanager``."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", note)
