"""The table of predictions: what was asked, what was answered, by which version."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, TypedDict, cast

import orjson
import sqlalchemy as sa

from ratchet.model.record_schema import Record
from ratchet.store.database import Store
from ratchet.store.tables import predictions

_COLUMNS = tuple(column.name for column in predictions.columns)
_NAMES = ", ".join(_COLUMNS)
# One statement for many rows, and none twice: a row that is there already is left as it is.
_SQLITE = f"INSERT INTO predictions ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT DO NOTHING"  # noqa: S608
_POSTGRESQL = (
    f"INSERT INTO predictions ({_NAMES})"  # noqa: S608
    f" SELECT {_NAMES} FROM json_populate_recordset(NULL::predictions, %s) ON CONFLICT DO NOTHING"
)


# Seconds in line; how long SQLite waits for somebody outside of it, while those behind wait too, in milliseconds; and
# the pause before the next attempt.
_LONGEST_TURN = 0.05
_BUSY_MS = 5
_PAUSE = 0.01
_PATIENCE = 5.0


class Prediction(TypedDict):
    """One row.

    Attributes
    ----------
    id: unique; ids sort by time.
    created_at: seconds since the epoch.
    model, version: which model answered.
    features: the record as it came.
    prediction: the label or number.
    score: the predicted label's probability, or None.
    probabilities: by class name, or None.
    latency: seconds from the request's arrival to the answer's being ready to be written down.
    """

    id: str
    created_at: float
    model: str
    version: str
    features: Record
    prediction: str | int | float
    score: float | None
    probabilities: dict[str, float] | None
    latency: float


class PredictionWriter:
    """Writes rows, many in one transaction, on a connection that it keeps; for one thread.

    This is the one hot write, so that it goes past SQLAlchemy's own statements and pool, which take several times as
    long as the rows do.

    Parameters
    ----------
    store: where to.
    patience: seconds to wait for a store that somebody holds locked.
    """

    def __init__(self, store: Store, patience: float) -> None:
        self._store = store
        self._patience = patience
        self._connection: Any = None
        self._line = store.line()
        self._refused = (store.engine.dialect.loaded_dbapi.Error, sa.exc.DBAPIError)

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write rows in one transaction; those whose id is there already are left as they are.

        Raises
        ------
        StateError: nothing was written.
        """
        deadline = time.monotonic() + self._patience
        content = [_as_sqlite(row) for row in rows] if self._store.is_sqlite else (orjson.dumps(rows).decode(),)
        while True:
            try:
                if self._connection is None:
                    self._connection = self._open()
                with self._line.turn(_LONGEST_TURN) if self._line else contextlib.nullcontext():
                    return self._insert(content)
            except self._refused as error:
                self._drop()
                if not _locked(error) or time.monotonic() > deadline:
                    raise self._store.failure(error) from None
            # Somebody outside the line holds the store; the others in line find that out for themselves meanwhile.
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Give the connection up, and the place in line."""
        self._drop()
        if self._line:
            self._line.leave()

    def _insert(self, content: Any) -> None:
        cursor = self._connection.cursor()
        if self._store.is_sqlite:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(_SQLITE, content)
        else:
            cursor.execute(_POSTGRESQL, content)
        self._connection.commit()

    def _open(self) -> Any:
        connection = self._store.engine.raw_connection()
        if self._store.is_sqlite:
            cursor = connection.cursor()
            # Else every so many pages one unlucky commit would wait for the whole log to be copied and synced.
            cursor.execute("PRAGMA wal_autocheckpoint = 0")
            cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()


def _locked(error: Exception) -> bool:
    return "locked" in str(error)


def insert_predictions(store: Store, rows: Sequence[Prediction]) -> None:
    """Write rows in one transaction, as ``PredictionWriter`` does, on a connection of its own.

    Raises
    ------
    StateError: nothing was written.
    """
    with contextlib.closing(PredictionWriter(store, _PATIENCE)) as writer:
        writer.write(rows)


def find_prediction(store: Store, prediction_id: str) -> Prediction | None:
    """The row of an id, None where there is none."""
    with store.reading() as connection:
        row = connection.execute(sa.select(predictions).where(predictions.c.id == prediction_id)).one_or_none()
        return None if row is None else cast(Prediction, dict(row._mapping))


def _kept_as_it_is(prediction: str | int | float) -> str | bytes:
    """A prediction's JSON; of a number as bytes, since SQLite would take the text 151.0 for the integer 151."""
    content = orjson.dumps(prediction)
    return content if isinstance(prediction, float) else content.decode()


def _as_sqlite(row: Prediction) -> tuple[Any, ...]:
    dump = orjson.dumps
    return (
        row["id"],
        row["created_at"],
        row["model"],
        row["version"],
        dump(row["features"]).decode(),
        _kept_as_it_is(row["prediction"]),
        row["score"],
        None if row["probabilities"] is None else dump(row["probabilities"]).decode(),
        row["latency"],
    )
