"""The table of feedback: what people say of predictions, joined by id, with its history.

A row is added for each new answer and none is changed, but for the number of the row that took its place. The answer
that stands is the row without one. Numbers follow the order of commits, so that the answers as they stood at a
watermark can be read again for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypedDict, cast

import sqlalchemy as sa

from ratchet.errors import RatchetError, UnavailableError
from ratchet.feedback.truth import Feedback, Label, Predicted, Source, Status, Truth, labels_of, read_truth, status_of
from ratchet.model.record_schema import Record
from ratchet.store.database import Store
from ratchet.store.tables import feedback, predictions

# PostgreSQL gives numbers when rows are written and not when they are committed; one writer at a time makes it one.
_LOCK = "ratchet.feedback"
# So many ids in one statement.
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


class FeedbackRow(TypedDict):
    """One row.

    Attributes
    ----------
    seq: its number, in the order of commits.
    prediction_id, revision: the how-manieth answer it is for which prediction, from 1.
    model, version: which model had predicted.
    target: what would have been right; None where it is only known that the prediction is wrong.
    correct: whether the prediction is right; None where nobody said so of a regression.
    source: ``user``, ``link`` or ``batch``.
    created_at: seconds since the epoch.
    superseded_by: the number of the row that took its place; None for the answer that stands.
    """

    seq: int
    prediction_id: str
    revision: int
    model: str
    version: str
    target: Label | None
    correct: bool | None
    source: Source
    created_at: float
    superseded_by: int | None


class Standing(NamedTuple):
    """The answer that stands for a prediction; the attributes are those of ``FeedbackRow``."""

    prediction_id: str
    revision: int
    model: str
    version: str
    target: Label | None
    correct: bool | None
    source: Source
    created_at: float


class Case(NamedTuple):
    """A prediction, as it is shown to a person who is asked about it.

    Attributes
    ----------
    predicted: what was predicted.
    features: what was asked.
    standing: the answer that stands, if there is one.
    """

    predicted: Predicted
    features: Record
    standing: Standing | None


@dataclass(frozen=True)
class Served:
    """The model that feedback is taken for.

    Attributes
    ----------
    model: its name.
    labels: the classes of the version that answers now; None for a regression.
    """

    model: str
    labels: tuple[Label, ...] | None = None


@dataclass(frozen=True)
class Recorded:
    """Feedback that was taken.

    Attributes
    ----------
    status: ``recorded``, or ``repeated`` where it said what stood already, ``completed`` where it added the target to
        a bare "wrong", ``corrected`` where it took another answer's place.
    standing: the answer that stands now.
    """

    status: Status
    standing: Standing


class UnknownPredictionError(RatchetError):
    """Feedback for a prediction that this model never made."""


class ContradictionError(RatchetError):
    """Feedback that contradicts what stands, and was not sent as a correction.

    Parameters
    ----------
    standing: what stands.
    """

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        stands = "that it is wrong" if standing.target is None else repr(standing.target)[:100]
        super().__init__(
            f"for prediction {standing.prediction_id} stands {stands} (revision {standing.revision}):"
            ' send it with "correction": true to replace that'
        )


Result = Recorded | RatchetError


class FeedbackBook:
    """Writes down what people say, within one transaction.

    Parameters
    ----------
    connection: of a transaction in which nobody else takes feedback.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def record(self, asked: Sequence[tuple[Feedback, Served]], *, awaited: bool = False) -> list[Result]:
        """Write down what people say, each as if it came alone and in this order.

        Parameters
        ----------
        asked: what is said, and the model that was asked to take it.
        awaited: whether, before this call, predictions were on their way into the store, so that one that is not there
            may be among them.

        Returns
        -------
        In the same order, what came of each: ``Recorded``, or the error that refuses it, which is ``InputError``,
        ``UnknownPredictionError``, ``ContradictionError``, or ``UnavailableError`` for an unknown prediction while some
        are awaited.
        """
        ids = {said.prediction_id for said, _ in asked}
        found = _Predictions(self._connection, ids, awaited=awaited)
        page = _Page(_standing(self._connection, ids))
        results: list[Result] = []
        for said, served in asked:
            try:
                predicted = found.of(said.prediction_id, served)
                results.append(page.enter(said, predicted, read_truth(said, predicted)))
            except RatchetError as error:
                results.append(error)
        self._write(page.new)
        return results

    def _write(self, new: Sequence[Standing]) -> None:
        if new:
            self._connection.execute(sa.insert(feedback), [row._asdict() for row in new])
        later = [row for row in new if row.revision > 1]
        if later:
            pairs = [{"of": row.prediction_id, "old": row.revision - 1, "new": row.revision} for row in later]
            self._connection.execute(_SUPERSEDE, pairs)


@contextmanager
def recording(store: Store) -> Iterator[FeedbackBook]:
    """Take feedback, as the only one who does; what is written down in the block is durable when it has ended.

    Raises
    ------
    StateError: the store cannot be written; nothing was recorded.
    """
    with store.transaction(lock=_LOCK) as connection:
        yield FeedbackBook(connection)


def record_feedback(store: Store, asked: Sequence[tuple[Feedback, Served]]) -> list[Result]:
    """Write down what people say in one transaction; see ``FeedbackBook.record``.

    Raises
    ------
    StateError: the store cannot be written; nothing was recorded.
    """
    with recording(store) as book:
        return book.record(asked)


def find_case(store: Store, prediction_id: str, served: Served, *, awaited: bool = False) -> Case:
    """A prediction that the served model has made, and what stands for it.

    Raises
    ------
    UnknownPredictionError: this model has made no such prediction.
    UnavailableError: it is not in the store, while predictions are on their way there.
    StateError: the store cannot be read.
    """
    asked = sa.select(predictions.c.features).where(predictions.c.id == prediction_id)
    with store.reading() as connection:
        predicted = _Predictions(connection, {prediction_id}, awaited=awaited).of(prediction_id, served)
        features = connection.scalar(asked) or {}
        standing = _standing(connection, {prediction_id}).get(prediction_id)
        return Case(predicted, features, _as_predicted(standing, predicted))


def feedback_of(store: Store, prediction_id: str) -> list[FeedbackRow]:
    """All that was said of a prediction, oldest first; the last one stands.

    Raises
    ------
    StateError: the store cannot be read.
    """
    rows = sa.select(feedback).where(feedback.c.prediction_id == prediction_id).order_by(feedback.c.revision)
    with store.reading() as connection:
        return [cast(FeedbackRow, dict(row)) for row in connection.execute(rows).mappings()]


class _Predictions:
    """The predictions of some ids, as they are stored."""

    def __init__(self, connection: sa.Connection, ids: Iterable[str], *, awaited: bool) -> None:
        table = predictions.c
        columns = sa.select(table.id, table.model, table.version, table.prediction, table.probabilities)
        self._awaited = awaited
        self._rows = {
            row.id: row for some in _shares(ids) for row in connection.execute(columns.where(table.id.in_(some)))
        }

    def of(self, prediction_id: str, served: Served) -> Predicted:
        row = self._rows.get(prediction_id)
        if row is None and self._awaited:
            raise UnavailableError(f"prediction {prediction_id} may be among those still on their way into the store")
        if row is None:
            raise UnknownPredictionError(f"there is no prediction {prediction_id}")
        if row.model != served.model:
            raise UnknownPredictionError(
                f"prediction {prediction_id} was made by model {row.model!r}, and {served.model!r} is served here"
            )
        labels = labels_of(row.prediction, row.probabilities, served.labels)
        return Predicted(row.model, row.version, row.prediction if labels else float(row.prediction), labels)


class _Page:
    """What stands for some predictions, and what is new of it."""

    def __init__(self, standing: dict[str, Standing]) -> None:
        self._standing = standing
        self.new: list[Standing] = []

    def enter(self, said: Feedback, predicted: Predicted, truth: Truth) -> Recorded:
        standing = _as_predicted(self._standing.get(said.prediction_id), predicted)
        before = Truth(standing.target, standing.correct) if standing else None
        status = status_of(predicted.prediction, before, truth)
        if standing and status == "repeated":
            return Recorded(status, standing)
        if standing and status == "corrected" and not said.may_replace(standing.revision):
            raise ContradictionError(standing)
        revision = standing.revision + 1 if standing else 1
        of = said.prediction_id, revision, predicted.model, predicted.version
        new = self._standing[said.prediction_id] = Standing(*of, *truth, said.source, time.time())
        self.new.append(new)
        return Recorded(status, new)


def _standing(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Standing]:
    columns = sa.select(*(feedback.c[name] for name in Standing._fields)).where(feedback.c.superseded_by.is_(None))
    return {
        row.prediction_id: Standing(*row)
        for some in _shares(ids)
        for row in connection.execute(columns.where(feedback.c.prediction_id.in_(some)))
    }


def _as_predicted(standing: Standing | None, predicted: Predicted) -> Standing | None:
    """A regression's target as a float, also where the store gives a whole number back."""
    if standing is None or standing.target is None or predicted.labels is not None:
        return standing
    return standing._replace(target=float(standing.target))


def _shares(ids: Iterable[str]) -> Iterator[list[str]]:
    every = list(ids)
    for start in range(0, len(every), _MOST_IDS):
        yield every[start : start + _MOST_IDS]
