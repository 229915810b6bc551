"""The table of predictions: the record, the answer, and the version that gave it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypedDict, cast

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from ratchet.errors import RejectedRowError
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch
from ratchet.store.tables import late_predictions, prediction_batches, predictions

if TYPE_CHECKING:
    from ratchet.model.record_schema import Record

# Seconds after which drift windows include a row, so that rows of several workers are judged in the order of their ids.
SETTLED_AFTER = 5.0
# Seconds after which a row is inserted late. The difference is the time that a transaction has to commit.
LATE_AFTER = 2.0
# A row that is in the table already is left as it is.
_SQLITE = str(sqlite.insert(predictions).on_conflict_do_nothing().compile(dialect=sqlite.dialect(paramstyle="qmark")))
_SQLITE_BATCH = str(
    sqlite.insert(prediction_batches).on_conflict_do_nothing().compile(dialect=sqlite.dialect(paramstyle="qmark"))
)
_SQLITE_LATE = str(
    sqlite.insert(late_predictions).on_conflict_do_nothing().compile(dialect=sqlite.dialect(paramstyle="qmark"))
)
_NAMES = ", ".join(predictions.columns.keys())
# The same as ``first_id``, by the server's clock.
_POSTGRESQL_LATE_ID = (
    f"overlay(lpad(to_hex(((extract(epoch FROM clock_timestamp()) - {LATE_AFTER}) * 1000)::bigint), 12, '0')"
    " PLACING '-' FROM 9 FOR 0)"
)
_POSTGRESQL_LATE = (
    " ON CONFLICT DO NOTHING RETURNING model, version, id) INSERT INTO late_predictions (model, version, id)"  # noqa: S608
    f" SELECT model, version, id FROM added WHERE id < (SELECT {_POSTGRESQL_LATE_ID}) ON CONFLICT DO NOTHING"
)
_POSTGRESQL = (
    f"WITH added AS (INSERT INTO predictions ({_NAMES})"  # noqa: S608
    f" SELECT {_NAMES} FROM json_populate_recordset(NULL::predictions, %s){_POSTGRESQL_LATE}"
)
_BATCH_NAMES = prediction_batches.columns.keys()
_POSTGRESQL_BATCH = (
    f"WITH added AS (INSERT INTO prediction_batches ({', '.join(_BATCH_NAMES)})"  # noqa: S608
    f" VALUES ({', '.join(['%s'] * len(_BATCH_NAMES))}){_POSTGRESQL_LATE}"
)


class Prediction(TypedDict):
    """One row.

    Attributes
    ----------
    id: unique; ids sort by time.
    created_at: seconds since the epoch.
    model, version: the model that answered.
    features: the record as the client sent it; None if it was forgotten.
    prediction: the label or number.
    score: the predicted label's probability, or None.
    probabilities: by class name, or None.
    latency: seconds from the request's arrival until the row was ready to be saved.
    """

    id: str
    created_at: float
    model: str
    version: str
    features: Record | None
    prediction: str | int | float
    score: float | None
    probabilities: dict[str, float] | None
    latency: float


Entry = Prediction | PredictionBatch


class PredictionWriter:
    """Writes rows and batches on a connection of its own; for one thread.

    It bypasses SQLAlchemy's statements and pool, which take several times as long as the rows themselves.

    Parameters
    ----------
    store: the store to write to; its timeout limits the wait for a locked table.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        driver = store.engine.dialect.loaded_dbapi
        self._rejections = (driver.IntegrityError, driver.DataError, OverflowError, UnicodeError)
        self._errors = (driver.Error, sa.exc.DBAPIError)
        self._connection: Any = None

    @contextmanager
    def transaction(self) -> Iterator[PredictionWriter]:
        """Open a transaction for ``insert``; the entries are durable when the block ends.

        Raises
        ------
        RejectedRowError: the store refuses one of the entries; nothing was written.
        StateError: nothing was written.
        """
        try:
            with self._store.write_turn():
                connection = self._opened()
                if self._store.is_sqlite:
                    connection.cursor().execute("BEGIN IMMEDIATE")
                yield self
                connection.commit()
        except self._rejections as error:
            self.close()
            raise RejectedRowError(str(self._store.failure(error))) from None
        except self._errors as error:
            self.close()
            raise self._store.failure(error) from None
        except BaseException:
            self.close()
            raise

    def insert(self, entries: Sequence[Entry]) -> None:
        """Insert rows and batches, except those whose id is in the table, and note which of the new ones are late."""
        batches = [entry for entry in entries if isinstance(entry, PredictionBatch)]
        rows = [entry for entry in entries if not isinstance(entry, PredictionBatch)] if batches else entries
        if rows:
            self.insert_rows(cast(Sequence[Prediction], rows))
        self.insert_batches(batches)

    def insert_batches(self, batches: Sequence[PredictionBatch]) -> None:
        """Insert batches, as ``insert`` does."""
        if not batches:
            return
        cursor, late_id = self._opened().cursor(), first_id(time.time() - LATE_AFTER)
        for batch in batches:
            values = tuple(getattr(batch, name) for name in _BATCH_NAMES)
            cursor.execute(_SQLITE_BATCH if self._store.is_sqlite else _POSTGRESQL_BATCH, values)
            if self._store.is_sqlite and batch.id < late_id and cursor.rowcount == 1:
                cursor.execute(_SQLITE_LATE, (batch.model, batch.version, batch.id))

    def insert_rows(self, rows: Sequence[Prediction]) -> None:
        """Insert rows, as ``insert`` does."""
        cursor = self._opened().cursor()
        if self._store.is_sqlite:
            late_id = first_id(time.time() - LATE_AFTER)
            _insert_late(cursor, [row for row in rows if row["id"] < late_id])
            cursor.executemany(_SQLITE, [_as_sqlite(row) for row in rows if row["id"] >= late_id])
        else:
            cursor.execute(_POSTGRESQL, (orjson.dumps(rows).decode(),))

    def close(self) -> None:
        """Close the connection; the next transaction opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self._errors):
                connection.rollback()  # an error's traceback can keep the connection, and its locks, past its end
            connection.invalidate()

    def _opened(self) -> Any:
        if self._connection is None:
            self._connection = self._store.engine.raw_connection()
            if self._store.is_sqlite:
                # Otherwise some commits would wait until the whole log is copied into the database and synced.
                self._connection.cursor().execute("PRAGMA wal_autocheckpoint = 0")
        return self._connection


def insert_predictions(store: Store, entries: Sequence[Entry]) -> None:
    """Insert rows and batches in one transaction, except those whose id is in the table.

    Raises
    ------
    StateError: nothing was written.
    """
    with closing(PredictionWriter(store)) as writer, writer.transaction():
        writer.insert(entries)


def count_rows(entries: Sequence[Entry]) -> int:
    """Return the number of predictions in some entries."""
    return sum(entry.n_rows if isinstance(entry, PredictionBatch) else 1 for entry in entries)


def first_id(at: float) -> str:
    """Return an id below those of all predictions from an instant on, in seconds since the epoch.

    Ids are UUIDs of version 7 (RFC 9562, section 5.7).
    """
    milliseconds = f"{int(at * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"


def _insert_late(cursor: Any, rows: Sequence[Prediction]) -> None:
    """Insert late rows into a file of SQLite, and note those that are new."""
    for row in rows:
        cursor.execute(_SQLITE, _as_sqlite(row))
        if cursor.rowcount == 1:
            cursor.execute(_SQLITE_LATE, (row["model"], row["version"], row["id"]))


def _as_sqlite(row: Prediction) -> tuple[Any, ...]:
    prediction, probabilities = row["prediction"], row["probabilities"]
    return (
        row["id"],
        row["created_at"],
        row["model"],
        row["version"],
        orjson.dumps(row["features"]).decode(),
        # A number as bytes: SQLite would store the text 151.0 as the integer 151.
        orjson.dumps(prediction) if isinstance(prediction, float) else orjson.dumps(prediction).decode(),
        row["score"],
        None if probabilities is None else orjson.dumps(probabilities).decode(),
        row["latency"],
    )
