"""The table of predictions: what was asked, what was answered, by which version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, cast

import orjson
import sqlalchemy as sa

from ratchet.records import Record
from ratchet.store import Store, predictions

_COLUMNS = tuple(column.name for column in predictions.columns)
_NAMES = ", ".join(_COLUMNS)
# One statement for many rows, and none twice: a row that is there already is left as it is.
_SQLITE = f"INSERT INTO predictions ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT DO NOTHING"  # noqa: S608
_POSTGRESQL = (
    f"INSERT INTO predictions ({_NAMES})"  # noqa: S608
    f" SELECT {_NAMES} FROM json_populate_recordset(NULL::predictions, %s) ON CONFLICT DO NOTHING"
)


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


def insert_predictions(store: Store, rows: Sequence[Prediction]) -> None:
    """Write rows in one transaction; those whose id is there already are left as they are.

    Raw statements, since this is the one hot write: SQLAlchemy's own take several times as long.

    Raises
    ------
    StateError: nothing was written.
    """
    with store.transaction() as connection:
        if store.is_sqlite:
            connection.exec_driver_sql(_SQLITE, [_as_sqlite(row) for row in rows])
        else:
            connection.exec_driver_sql(_POSTGRESQL, (orjson.dumps(rows).decode(),))


def find_prediction(store: Store, prediction_id: str) -> Prediction | None:
    """The row of an id, None where there is none."""
    with store.reading() as connection:
        row = connection.execute(sa.select(predictions).where(predictions.c.id == prediction_id)).one_or_none()
        return None if row is None else cast(Prediction, dict(row._mapping))


def _as_sqlite(row: Prediction) -> tuple[Any, ...]:
    dump = orjson.dumps
    return (
        row["id"],
        row["created_at"],
        row["model"],
        row["version"],
        dump(row["features"]).decode(),
        dump(row["prediction"]).decode(),
        row["score"],
        None if row["probabilities"] is None else dump(row["probabilities"]).decode(),
        row["latency"],
    )
