"""Predictions and feedback of production, read from the store.

Every query here uses an index and has a row limit, so that its cost does not grow with the size of the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ratchet.store.clock import TOLERANCE
from ratchet.store.database import Store
from ratchet.store.prediction_rows import PredictionRows, Span
from ratchet.store.predictions import first_id
from ratchet.store.tables import feedback

if TYPE_CHECKING:
    from ratchet.model.record_schema import Record
    from ratchet.store.predictions import Prediction

Label = str | int | float
# The columns of ``PredictedRow``, in addition to the id.
_PREDICTED = ("version", "features", "prediction", "probabilities")


class PredictedRow(NamedTuple):
    """A predicted row.

    Attributes
    ----------
    prediction_id: ids sort by time.
    features: the record as it was received.
    prediction: the label or number.
    probabilities: by class name.
    """

    prediction_id: str
    version: str
    features: Record
    prediction: Label
    probabilities: dict[str, float] | None


class LabelledRow(NamedTuple):
    """A predicted row with its feedback; the first five fields are those of ``PredictedRow``.

    Attributes
    ----------
    features: empty if they were forgotten.
    target: the true label or number; None if the feedback only has ``correct``.
    correct: whether the prediction was right; None for a regression.
    seq: the number of the feedback, in the order of commits.
    created_at: the time of the feedback, in seconds since the epoch.
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


class AskedRow(NamedTuple):
    """A prediction, and its label if it has one.

    Attributes
    ----------
    created_at, labelled_at: seconds since the epoch; ``labelled_at`` is None without a label.
    score: the probability of the predicted class; None without probabilities.
    source: the route by which the label came; None without a label.
    error: 1 for a wrong class, 0 for the right one; for a number the absolute error; None if it is not known.
    """

    prediction_id: str
    version: str
    prediction: Label
    score: float | None
    created_at: float
    labelled_at: float | None
    source: str | None
    error: float | None


def watermark(store: Store, model: str) -> int:
    """Return the number of a model's newest feedback, or 0."""
    newest = sa.select(feedback.c.seq).where(feedback.c.model == model).order_by(feedback.c.seq.desc()).limit(1)
    with store.reading() as connection:
        return int(connection.scalar(newest) or 0)


def count_labels(store: Store, model: str, after: int, most: int) -> int:
    """Count the rows that got their first target after a watermark, up to ``most``; corrections do not count."""
    return _count(store, _new_labels(model, after), most)


def judged_after(store: Store, model: str, version: str, after: int, most: int) -> list[tuple[int, str]]:
    """Return number and prediction of the first feedback on rows of a version after a watermark, oldest first."""
    new = sa.select(feedback.c.seq, feedback.c.prediction_id).where(
        feedback.c.model == model,
        feedback.c.version == version,
        feedback.c.seq > after,
        feedback.c.revision == 1,
    )
    with store.reading() as connection:
        return [(int(seq), found) for seq, found in connection.execute(new.order_by(feedback.c.seq).limit(most))]


def feedback_after(store: Store, model: str, after: int, most: int) -> list[int]:
    """Return the numbers of the next feedback of any kind after a watermark, oldest first."""
    new = sa.select(feedback.c.seq).where(feedback.c.model == model, feedback.c.seq > after)
    with store.reading() as connection:
        return [int(seq) for seq in connection.scalars(new.order_by(feedback.c.seq).limit(most))]


def nth_label(store: Store, model: str, after: int, n: int) -> int:
    """Return the feedback number of the n-th label after a watermark, from 1; that many labels have to exist."""
    new = _new_labels(model, after).order_by(feedback.c.seq)
    with store.reading() as connection:
        return int(connection.execute(new.offset(n - 1).limit(1)).scalar_one())


def labelled_rows(store: Store, model: str, version: str, limit: int, *, up_to: int | None = None) -> list[LabelledRow]:
    """Return the newest labelled rows of a version, now or at a watermark, newest first, without superseded labels."""
    return _labelled(store, sa.and_(feedback.c.model == model, feedback.c.version == version), limit, up_to)


def labels_up_to(store: Store, model: str, up_to: int, limit: int) -> list[LabelledRow]:
    """Return the rows with the newest targets at a watermark, of any version, in the order of their predictions.

    The same watermark always gives the same rows: later corrections do not count. Rows whose features were forgotten
    are left out.
    """
    rows = _labelled(store, sa.and_(feedback.c.model == model, feedback.c.target.is_not(None)), limit, up_to)
    return sorted((row for row in rows if row.features), key=lambda row: row.prediction_id)


def newest_predictions(
    store: Store, model: str, version: str | None, limit: int, *, after: str | None = None
) -> list[PredictedRow]:
    """Return the newest rows that a version predicted, or any version, newest first, with ids higher than ``after``.

    Here and in the next two functions, rows whose features were forgotten are left out.
    """
    with store.reading() as connection:
        span = Span(after or "", newest_id(store.now(connection)))
        rows = PredictionRows(connection, *_PREDICTED).between(
            span, model=model, version=version, newest_first=True, with_features=True, limit=limit
        )
        return [_predicted(row) for row in rows]


def predictions_between(
    store: Store, model: str, version: str, after: str, before: str, limit: int
) -> list[PredictedRow]:
    """Return the rows that a version predicted next after an id and before another one, oldest first."""
    with store.reading() as connection:
        span = Span(after, min(before, newest_id(store.now(connection))))
        rows = PredictionRows(connection, *_PREDICTED).between(
            span, model=model, version=version, with_features=True, limit=limit
        )
        return [_predicted(row) for row in rows]


def late_between(store: Store, model: str, version: str, after: str, before: str, limit: int) -> list[PredictedRow]:
    """Return the rows between two ids that were inserted late and are in no drift window yet, oldest first."""
    with store.reading() as connection:
        span = Span(after, min(before, newest_id(store.now(connection))))
        return [_predicted(row) for row in PredictionRows(connection, *_PREDICTED).late(model, version, span, limit)]


def asked_rows(
    store: Store, model: str, first: str, last: str, limit: int, *, up_to: int | None = None, targets: bool = False
) -> list[AskedRow]:
    """Return the newest predictions between two ids, both included, oldest first, each with its label if it has one.

    Parameters
    ----------
    up_to: only feedback up to this watermark counts; None for all.
    targets: whether only feedback with a target is a label.
    """
    span, label = Span(first, last, inclusive=True), _current(up_to)
    if targets:
        label = sa.and_(label, feedback.c.target.is_not(None))
    names = ("created_at", "source", "target", "correct")
    labels = sa.select(feedback.c.prediction_id, *(feedback.c[name] for name in names)).where(label)
    with store.reading() as connection:
        reader = PredictionRows(connection, "version", "prediction", "score", "created_at")
        rows = [*reader.between(span, model=model, newest_first=True, limit=limit)]
        if not rows:
            return []
        between = feedback.c.prediction_id.between(rows[-1]["id"], rows[0]["id"])
        by_id = {found: label for found, *label in connection.execute(labels.where(between))}
    return [_asked(row, *by_id.get(row["id"], [None] * len(names))) for row in reversed(rows)]


def newest_labelled_ids(store: Store, model: str, limit: int, *, up_to: int | None = None) -> list[str]:
    """Return the ids of the predictions with the newest feedback, now or at a watermark, in ascending order."""
    statement = sa.select(feedback.c.prediction_id).where(feedback.c.model == model, _current(up_to))
    with store.reading() as connection:
        return sorted(connection.scalars(statement.order_by(feedback.c.seq.desc()).limit(limit)))


def _predicted(row: Prediction) -> PredictedRow:
    features = row["features"] or {}  # it is None if it was forgotten
    return PredictedRow(row["id"], row["version"], features, row["prediction"], row["probabilities"])


def newest_id(now: float) -> str:
    """Return an id above those of all predictions up to now; higher ids are from a clock that was wrong, and void."""
    return first_id(now + TOLERANCE)


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


def _current(up_to: int | None) -> Any:
    """Return the condition of feedback that is current, now or at a watermark."""
    current: Any = feedback.c.superseded_by.is_(None)
    if up_to is None:
        return current
    return sa.and_(feedback.c.seq <= up_to, sa.or_(current, feedback.c.superseded_by > up_to))


def _error(prediction: Label, target: Label | None, correct: bool | None) -> float | None:
    """Return 0 for a right class and 1 for a wrong one; for a number the absolute error; None if it is not known."""
    if correct is not None:
        return float(not correct)
    if target is None or isinstance(target, str) or isinstance(prediction, str):
        return None
    return abs(float(target) - float(prediction))


def _asked(
    row: Prediction, labelled_at: float | None, source: str | None, target: Label | None, correct: bool | None
) -> AskedRow:
    prediction, error = row["prediction"], _error(row["prediction"], target, correct)
    return AskedRow(row["id"], row["version"], prediction, row["score"], row["created_at"], labelled_at, source, error)


def _labelled(store: Store, where: Any, limit: int, up_to: int | None = None) -> list[LabelledRow]:
    table = feedback.c
    newest = (
        sa.select(table.prediction_id, table.target, table.correct, table.seq, table.created_at)
        .where(where, _current(up_to))
        .order_by(table.seq.desc())
        .limit(limit)
    )
    with store.reading() as connection:
        labels = connection.execute(newest).all()
        rows = PredictionRows(connection, *_PREDICTED).find_many(found for found, *_ in labels)
    return [LabelledRow(*_predicted(rows[found]), *label) for found, *label in labels if found in rows]
