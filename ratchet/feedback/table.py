"""The table of feedback on predictions, with its history.

Each new answer is a new row. No row changes, except for ``superseded_by``, the number of the row that replaced it; the
current row of a prediction has none. Row numbers follow the order of commits, so that the answers that were current at
a watermark can be read again at any time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from ratchet.errors import RatchetError
from ratchet.feedback.ground_truth import (
    Feedback,
    GroundTruth,
    Label,
    Source,
    Status,
    StoredPrediction,
    ground_truth,
    labels_of,
    status_of,
)
from ratchet.model.record_schema import Record
from ratchet.store.database import Store
from ratchet.store.prediction_rows import PredictionRows
from ratchet.store.retention_positions import why_gone
from ratchet.store.tables import feedback

# PostgreSQL numbers rows when they are written, not when they are committed; with one writer at a time the two agree.
_LOCK = "ratchet.feedback"
# Number of ids in one statement.
_MOST_IDS = 500

_successor = feedback.alias()
_SUPERSEDE = (
    sa.update(feedback)
    .where(feedback.c.prediction_id == sa.bindparam("of"), feedback.c.revision == sa.bindparam("old"))
    .values(
        superseded_by=sa.select(_successor.c.seq)
        .where(_successor.c.prediction_id == sa.bindparam("of"), _successor.c.revision == sa.bindparam("new"))
        .scalar_subquery()
    )
)


class FeedbackRow(NamedTuple):
    """One row.

    Attributes
    ----------
    prediction_id, revision: the prediction, and the number of this answer among those for it, from 1.
    model, version: the model that predicted.
    target: the true class or number; None if it is only known that the prediction is wrong.
    correct: whether the prediction is right; None for a regression, unless the client sent it.
    source: ``user``, ``link`` or ``batch``.
    created_at: seconds since the epoch.
    seq: its number, in the order of commits; None before it is committed.
    superseded_by: number of the row that replaced it; None for the current row.
    """

    prediction_id: str
    revision: int
    model: str
    version: str
    target: Label | None
    correct: bool | None
    source: Source
    created_at: float
    seq: int | None = None
    superseded_by: int | None = None


_COLUMNS = sa.select(*(feedback.c[name] for name in FeedbackRow._fields))


class PredictionForReview(NamedTuple):
    """A prediction as the feedback form shows it, with its current feedback."""

    predicted: StoredPrediction
    features: Record
    current: FeedbackRow | None


@dataclass(frozen=True)
class ServedModel:
    """The model that a service takes feedback for; ``labels`` is None for a regression."""

    model: str
    labels: tuple[Label, ...] | None = None


@dataclass(frozen=True)
class Recorded:
    """Accepted feedback.

    Attributes
    ----------
    status: ``recorded``; ``repeated`` if it agrees with the current feedback; ``completed`` if it adds the target to a
        bare "wrong"; ``corrected`` if it replaced the current feedback.
    current: the current feedback after it.
    """

    status: Status
    current: FeedbackRow


class UnknownPredictionError(RatchetError):
    """Feedback on a prediction that this model did not make."""


class MissingPredictionError(UnknownPredictionError):
    """Feedback on a prediction that is not in the store."""


class GonePredictionError(MissingPredictionError):
    """Feedback on a prediction that retention has moved out of the store."""


class ContradictionError(RatchetError):
    """Feedback that contradicts the current feedback and is not a correction."""

    def __init__(self, current: FeedbackRow) -> None:
        self.current = current
        target = '"wrong"' if current.target is None else repr(current.target)[:100]
        super().__init__(
            f"prediction {current.prediction_id} already has the feedback {target} (revision {current.revision}):"
            ' send "correction": true to replace it'
        )


Result = Recorded | RatchetError


def feedback_transaction(store: Store, *, durable: bool = True) -> AbstractContextManager[sa.Connection]:
    """Open the only transaction that records feedback; it is durable when the block ends, unless it need not be.

    Raises
    ------
    StateError: the store cannot be written; nothing was recorded.
    """
    return store.transaction(lock=_LOCK, durable=durable)


def record_feedback(connection: sa.Connection, items: Sequence[tuple[Feedback, ServedModel]]) -> list[Result]:
    """Record feedback; each item counts as if it came alone, in this order.

    Parameters
    ----------
    connection: from ``feedback_transaction``.
    items: the feedback, and the model that it was sent to.

    Returns
    -------
    In the same order, ``Recorded`` or the error that refuses the item: ``InputError``, ``UnknownPredictionError``, or
    ``ContradictionError``.
    """
    ids = {item.prediction_id for item, _ in items}
    stored = _Predictions(connection, ids)
    current = _current(connection, ids)
    results: list[Result] = []
    new: list[FeedbackRow] = []
    for item, served in items:
        try:
            predicted = stored.find(item.prediction_id, served)
            before = _as_predicted(current.get(item.prediction_id), predicted)
            result = _compare(item, predicted, before)
        except RatchetError as error:
            results.append(error)
            continue
        results.append(result)
        if result.status != "repeated":
            current[item.prediction_id] = result.current
            new.append(result.current)
    _write(connection, new)
    return results


def find_for_review(store: Store, prediction_id: str, served: ServedModel) -> PredictionForReview:
    """Return a prediction of the served model with its current feedback.

    Raises
    ------
    UnknownPredictionError: this model did not make such a prediction.
    StateError: the store cannot be read.
    """
    with store.reading() as connection:
        predicted = _Predictions(connection, {prediction_id}).find(prediction_id, served)
        row = PredictionRows(connection, "features").find(prediction_id)
        current = _current(connection, {prediction_id}).get(prediction_id)
        features = (row["features"] if row else None) or {}  # they may have been forgotten
        return PredictionForReview(predicted, features, _as_predicted(current, predicted))


def feedback_of(store: Store, prediction_id: str) -> list[FeedbackRow]:
    """Return all feedback on a prediction, oldest first; the last row is the current one.

    Raises
    ------
    StateError: the store cannot be read.
    """
    rows = _COLUMNS.where(feedback.c.prediction_id == prediction_id).order_by(feedback.c.revision)
    with store.reading() as connection:
        return [FeedbackRow(*row) for row in connection.execute(rows)]


class _Predictions:
    """The stored predictions of some ids."""

    def __init__(self, connection: sa.Connection, ids: Iterable[str]) -> None:
        self._connection = connection
        self._rows = PredictionRows(connection, "model", "version", "prediction", "probabilities").find_many(ids)

    def find(self, prediction_id: str, served: ServedModel) -> StoredPrediction:
        row = self._rows.get(prediction_id)
        if row is None:
            raise self._missing(prediction_id, served)
        model, version, prediction = row["model"], row["version"], row["prediction"]
        if model != served.model:
            raise UnknownPredictionError(
                f"prediction {prediction_id} was made by model {model!r}, but this service serves {served.model!r}"
            )
        labels = labels_of(prediction, row["probabilities"], served.labels)
        return StoredPrediction(model, version, prediction if labels else float(prediction), labels)

    def _missing(self, prediction_id: str, served: ServedModel) -> UnknownPredictionError:
        gone = why_gone(self._connection, served.model, prediction_id)
        if gone is None:
            return MissingPredictionError(f"there is no prediction {prediction_id}")
        return GonePredictionError(
            f"prediction {prediction_id} {gone}: feedback is taken as long as RATCHET_RETENTION_DAYS and"
            " RATCHET_RETENTION_ROWS keep a prediction"
        )


def _compare(item: Feedback, predicted: StoredPrediction, current: FeedbackRow | None) -> Recorded:
    """Return what an item does to the current feedback."""
    truth = ground_truth(item, predicted)
    before = GroundTruth(current.target, current.correct) if current else None
    status = status_of(predicted.prediction, before, truth)
    if current and status == "repeated":
        return Recorded(status, current)
    if current and status == "corrected" and not item.may_replace(current.revision):
        raise ContradictionError(current)
    revision = current.revision + 1 if current else 1
    key = item.prediction_id, revision, predicted.model, predicted.version
    return Recorded(status, FeedbackRow(*key, *truth, item.source, time.time()))


def _write(connection: sa.Connection, new: Sequence[FeedbackRow]) -> None:
    if new:
        # The database sets the last two values.
        values = [dict(zip(FeedbackRow._fields[:-2], row[:-2], strict=True)) for row in new]
        connection.execute(sa.insert(feedback), values)
    later = [row for row in new if row.revision > 1]
    if later:
        pairs = [{"of": row.prediction_id, "old": row.revision - 1, "new": row.revision} for row in later]
        connection.execute(_SUPERSEDE, pairs)


def _current(connection: sa.Connection, ids: Iterable[str]) -> dict[str, FeedbackRow]:
    current = _COLUMNS.where(feedback.c.superseded_by.is_(None))
    return {
        row.prediction_id: FeedbackRow(*row)
        for some in _chunks(ids)
        for row in connection.execute(current.where(feedback.c.prediction_id.in_(some)))
    }


def _as_predicted(current: FeedbackRow | None, predicted: StoredPrediction) -> FeedbackRow | None:
    """Return a regression's target as a float, even if the store returns a whole number."""
    if current is None or current.target is None or predicted.labels is not None:
        return current
    return current._replace(target=float(current.target))


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    every = list(ids)
    for start in range(0, len(every), _MOST_IDS):
        yield every[start : start + _MOST_IDS]
