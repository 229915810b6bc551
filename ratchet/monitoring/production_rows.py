"""What production has to say, as read from the store: what was predicted, and what turned out to be so.

Every reader here starts from an index and reads no more rows than it is asked for, so that what a question costs does
not depend on how much was ever stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from ratchet.model.record_schema import Record
from ratchet.store.database import Store
from ratchet.store.tables import feedback, predictions

Label = str | int | float


class PredictedRow(NamedTuple):
    """A row that was answered.

    Attributes
    ----------
    prediction_id: ids sort by time.
    version: the version that answered.
    features: the record as it came.
    prediction: the label or number.
    probabilities: by class name, or None.
    """

    prediction_id: str
    version: str
    features: Record
    prediction: Label
    probabilities: dict[str, float] | None


class LabelledRow(NamedTuple):
    """A row that was answered, and what is known of the truth.

    Attributes
    ----------
    prediction_id, version, features, prediction, probabilities: as for ``PredictedRow``.
    target: the truth; None where it is only known whether the answer was right.
    correct: whether the answer was right; None for a regression.
    seq: the number of the feedback, in the order of commits.
    created_at: when the feedback came, in seconds since the epoch.
    """

    prediction_id: str
    version: str
    features: Record
    prediction: Label
    probabilities: dict[str, float] | None
    target: Label | None
    correct: bool | None
    seq: int
    created_at: float


def watermark(store: Store, model: str) -> int:
    """The number of the newest feedback for a model; 0 where there is none."""
    newest = sa.select(feedback.c.seq).where(feedback.c.model == model).order_by(feedback.c.seq.desc()).limit(1)
    with store.reading() as connection:
        return int(connection.scalar(newest) or 0)


def count_labels(store: Store, model: str, after: int, most: int) -> int:
    """How many rows got a known truth after a watermark, counted no further than ``most``; corrections do not count."""
    return _count(store, _new_labels(model, after), most)


def count_judged(store: Store, model: str, version: str, after: int, most: int) -> int:
    """How many rows of a version were judged for the first time after a watermark: right, wrong, or by a truth."""
    new = sa.select(feedback.c.seq).where(
        feedback.c.model == model,
        feedback.c.version == version,
        feedback.c.seq > after,
        feedback.c.revision == 1,
    )
    return _count(store, new, most)


def nth_label(store: Store, model: str, after: int, n: int) -> int:
    """The number of the n-th label after a watermark.

    Parameters
    ----------
    n: from 1; there have to be so many.
    """
    new = _new_labels(model, after).order_by(feedback.c.seq)
    with store.reading() as connection:
        return int(connection.execute(new.offset(n - 1).limit(1)).scalar_one())


def labelled_rows(store: Store, model: str, version: str, limit: int, *, up_to: int | None = None) -> list[LabelledRow]:
    """The newest labelled rows that one version answered, newest first; superseded labels are left out.

    Parameters
    ----------
    limit: the most rows.
    up_to: a watermark; None for now.
    """
    return _labelled(store, sa.and_(feedback.c.model == model, feedback.c.version == version), limit, up_to)


def labels_up_to(store: Store, model: str, up_to: int, limit: int) -> list[LabelledRow]:
    """The newest rows with a known truth as they stood at a watermark, whichever version answered, oldest first.

    The same watermark gives the same rows for ever: a correction that came later does not count.

    Parameters
    ----------
    up_to: the watermark.
    limit: the most rows, by the order in which the labels came.

    Returns
    -------
    Rows in the order of their predictions.
    """
    rows = _labelled(store, sa.and_(feedback.c.model == model, feedback.c.target.is_not(None)), limit, up_to)
    return sorted(rows, key=lambda row: row.prediction_id)


def newest_predictions(
    store: Store, model: str, version: str | None, limit: int, *, after: str | None = None
) -> list[PredictedRow]:
    """The newest rows that were answered, newest first.

    Parameters
    ----------
    version: by this version alone; None for any.
    limit: the most rows.
    after: only those with a higher id.
    """
    table = predictions.c
    statement = sa.select(table.id, table.version, table.features, table.prediction, table.probabilities).where(
        table.model == model, table.id > (after or "")
    )
    if version is not None:
        statement = statement.where(table.version == version)
    with store.reading() as connection:
        rows = connection.execute(statement.order_by(table.id.desc()).limit(limit)).all()
    return [PredictedRow(*row) for row in rows]


def first_id(at: float) -> str:
    """An id that is below those of all predictions from an instant on (UUID version 7: RFC 9562, section 5.7).

    Parameters
    ----------
    at: seconds since the epoch.
    """
    milliseconds = f"{int(at * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}"


def _count(store: Store, rows: Any, most: int) -> int:
    with store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(rows.limit(most).subquery())) or 0)


def _new_labels(model: str, after: int) -> Any:
    new = sa.select(feedback.c.seq).where(feedback.c.model == model, feedback.c.seq > after)
    older = feedback.alias("older")
    known_before = sa.exists().where(
        older.c.prediction_id == feedback.c.prediction_id,
        older.c.revision < feedback.c.revision,
        older.c.target.is_not(None),
    )
    first = sa.or_(feedback.c.revision == 1, ~known_before)
    return new.where(feedback.c.target.is_not(None), first)


def _labelled(store: Store, where: Any, limit: int, up_to: int | None) -> list[LabelledRow]:
    standing: Any = feedback.c.superseded_by.is_(None)
    if up_to is not None:
        standing = sa.and_(feedback.c.seq <= up_to, sa.or_(standing, feedback.c.superseded_by > up_to))
    newest = sa.select(feedback).where(where, standing).order_by(feedback.c.seq.desc()).limit(limit).subquery("newest")
    table = predictions.c
    statement = (
        sa.select(
            table.id,
            table.version,
            table.features,
            table.prediction,
            table.probabilities,
            newest.c.target,
            newest.c.correct,
            newest.c.seq,
            newest.c.created_at,
        )
        .join(newest, newest.c.prediction_id == table.id)
        .order_by(newest.c.seq.desc())
    )
    with store.reading() as connection:
        return [LabelledRow(*row) for row in connection.execute(statement)]
