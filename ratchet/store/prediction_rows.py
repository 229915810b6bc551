"""The one reader of predictions: single rows and the rows of batches, in the order of their ids.

Memory does not grow with the number of rows or batches: rows are read a page at a time, and a batch is decoded only if
one of its rows is wanted.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from ratchet.store.database import Store
from ratchet.store.prediction_batches import NAMES, PredictionBatch, row_id, split_id
from ratchet.store.predictions import Prediction
from ratchet.store.tables import late_predictions, prediction_batches, predictions

_BATCH = sa.select(prediction_batches)
_HEAD = sa.select(*(column for column in prediction_batches.c if column.name != "content"))
# Characters of the id of a batch.
_BATCH_ID = 36
# Numbers of rows that are read together, of batches without their content, and of ids in one statement.
_PAGE, _HEADS, _MOST_IDS = 1000, 100, 500
# Number of batches whose content is in memory at one time.
_CONTENTS = 8

Element = TypeVar("Element")


@dataclass(frozen=True)
class Span:
    """A span of prediction ids; without ``before`` it has no end.

    Attributes
    ----------
    inclusive: whether the two ids belong to it.
    """

    after: str = ""
    before: str | None = None
    inclusive: bool = False

    def __contains__(self, prediction_id: str) -> bool:
        if self.inclusive:
            return self.after <= prediction_id and (self.before is None or prediction_id <= self.before)
        return self.after < prediction_id and (self.before is None or prediction_id < self.before)

    def rows(self, head: Any) -> range:
        """Return the rows of a batch that belong to it."""
        low, high = (bisect_left, bisect_right) if self.inclusive else (bisect_right, bisect_left)
        ids: Any = range(head.n_rows)

        def key(index: int) -> str:
            return row_id(head.id, index)

        stop = head.n_rows if self.before is None else high(ids, self.before, key=key)
        return range(low(ids, self.after, key=key), stop)

    def condition(self, column: sa.ColumnElement[str], longest: int | None = None) -> sa.ColumnElement[bool]:
        """Return a condition for ids that may belong to it; with ``longest``, for those of batches with such rows."""
        low = column >= self.after[:longest]
        return low if self.before is None else sa.and_(low, column <= self.before[:longest])


class PredictionRows:
    """Reads predictions on a connection.

    Parameters
    ----------
    names: the columns that the rows have; all without names. Those of a batch that are not wanted are not converted.
    """

    def __init__(self, connection: sa.Connection, *names: str) -> None:
        self._connection = connection
        self._names = tuple(dict.fromkeys(("id", *names))) if names else NAMES
        self._single = sa.select(*(predictions.c[name] for name in self._names))

    def find(self, prediction_id: str) -> Prediction | None:
        """Return the row of an id; None if there is none."""
        return self.find_many((prediction_id,)).get(prediction_id)

    def find_many(self, ids: Iterable[str]) -> dict[str, Prediction]:
        """Return the rows of some ids, by id; an id without a row is left out."""
        wanted = list(ids)
        found = self._find_single(wanted)
        by_batch: dict[str, list[int]] = defaultdict(list)
        for prediction_id in wanted:
            if prediction_id not in found and (place := split_id(prediction_id)):
                by_batch[place[0]].append(place[1])
        for some in _chunks(list(by_batch), _CONTENTS):
            for row in self._connection.execute(_BATCH.where(prediction_batches.c.id.in_(some))):
                batch = PredictionBatch(*row)
                indexes = [index for index in by_batch[batch.id] if index < batch.n_rows]
                found |= {each["id"]: each for each in batch.rows_at(indexes, names=self._names)}
        return found

    def between(
        self,
        span: Span,
        *,
        model: str | None = None,
        version: str | None = None,
        newest_first: bool = False,
        with_features: bool = False,
        limit: int | None = None,
    ) -> Iterator[Prediction]:
        """Return the rows of a span of ids, up to a number, in the order of their ids or the reverse.

        Parameters
        ----------
        with_features: leave out the rows whose features were forgotten; ``names`` has to have ``features``.
        """
        page = _PAGE if limit is None else min(limit, _PAGE)

        def pages(statement: sa.Select[Any], table: sa.Table, size: int, longest: int | None) -> Iterator[Any]:
            given = {table.c.model: model, table.c.version: version}
            known = [column == value for column, value in given.items() if value is not None]
            ids = span.condition(table.c.id, longest)
            return self._pages(statement.where(ids, *known), table, size, newest_first=newest_first)

        rows = (row for row in pages(self._single, predictions, page, None) if row.id in span)
        heads = pages(_HEAD, prediction_batches, _HEADS, _BATCH_ID)
        both = heapq.merge(rows, heads, key=lambda found: str(found.id), reverse=newest_first)
        found = self._with_rows_of_batches(both, span, newest_first)
        return islice((row for row in found if not with_features or row["features"] is not None), limit)

    def late(self, model: str, version: str, span: Span, limit: int) -> Iterator[Prediction]:
        """Return the rows with features of a span that were inserted late and are in no drift window yet, oldest first.

        ``names`` has to have ``features``.
        """
        table = late_predictions.c
        noted = sa.select(table.id).where(
            table.model == model, table.version == version, table.id > span.after, table.id < span.before
        )
        notes = self._connection.scalars(noted.order_by(table.id).limit(limit)).all()
        return islice((row for row in self._noted(notes) if row["features"] is not None), limit)

    def _noted(self, notes: Sequence[str]) -> Iterator[Prediction]:
        single = self._find_single(notes)
        for note in notes:
            if note in single:
                yield single[note]
                continue
            batch_id, row = split_id(note) or (note, -1)
            for head in self._connection.execute(_HEAD.where(prediction_batches.c.id == batch_id)):
                yield from self._rows_of(head, range(row + 1, head.n_rows), newest_first=False)

    def _find_single(self, ids: Sequence[str]) -> dict[str, Prediction]:
        return {
            row.id: _as_prediction(row)
            for some in _chunks(ids, _MOST_IDS)
            for row in self._connection.execute(self._single.where(predictions.c.id.in_(some)))
        }

    def _pages(self, statement: sa.Select[Any], table: sa.Table, size: int, *, newest_first: bool) -> Iterator[Any]:
        """Return the rows of a table in the order of their ids or the reverse, read a page at a time."""
        statement = statement.order_by(table.c.id.desc() if newest_first else table.c.id).limit(size)
        page = self._connection.execute(statement).all()
        while page:
            yield from page
            if len(page) < size:
                return
            last = page[-1].id
            further = table.c.id < last if newest_first else table.c.id > last
            page = self._connection.execute(statement.where(further)).all()

    def _with_rows_of_batches(self, both: Iterable[Any], span: Span, newest_first: bool) -> Iterator[Prediction]:
        for found in both:
            if "n_rows" in found._fields:
                yield from self._rows_of(found, span.rows(found), newest_first=newest_first)
            else:
                yield _as_prediction(found)

    def _rows_of(self, head: Any, rows: range, *, newest_first: bool) -> Iterator[Prediction]:
        """Return some rows of a batch; one that was deleted since its head was read has none."""
        batch = (
            self._connection.execute(_BATCH.where(prediction_batches.c.id == head.id)).one_or_none() if rows else None
        )
        if batch is None:
            return
        parts = _chunks(rows, _PAGE) if not newest_first else reversed([*_chunks(rows, _PAGE)])
        for part in parts:
            found = [*PredictionBatch(*batch).rows(part.start, part.stop, names=self._names)]
            yield from reversed(found) if newest_first else found


def find_prediction(store: Store, prediction_id: str) -> Prediction | None:
    """Return the row of an id; None if there is none.

    Raises
    ------
    StateError: the store cannot be read.
    """
    with store.reading() as connection:
        return PredictionRows(connection).find(prediction_id)


def settle_late(connection: sa.Connection, model: str, version: str, ids: Sequence[str]) -> None:
    """Remove the notes of late rows that a window has judged; of a batch, these are the first of the noted rows."""
    judged, last = set(ids), dict[str, int]()
    for batch_id, row in filter(None, map(split_id, ids)):
        judged |= {batch_id}
        last[batch_id] = max(row, last.get(batch_id, -1))
    table = late_predictions.c
    mine = sa.and_(table.model == model, table.version == version)
    if judged:
        listed = sa.delete(late_predictions).where(mine, table.id == sa.bindparam("judged"))
        connection.execute(listed, [{"judged": prediction_id} for prediction_id in judged])
    batch = prediction_batches.c
    for some in _chunks(list(last), _MOST_IDS):
        for batch_id, n_rows in connection.execute(sa.select(batch.id, batch.n_rows).where(batch.id.in_(some))).all():
            earlier = table.id.between(row_id(batch_id, 0), row_id(batch_id, last[batch_id]))
            connection.execute(sa.delete(late_predictions).where(mine, earlier))
            if last[batch_id] + 1 < n_rows:
                rest = {"model": model, "version": version, "id": row_id(batch_id, last[batch_id])}
                connection.execute(sa.insert(late_predictions).values(rest))


def _as_prediction(row: Any) -> Prediction:
    return cast(Prediction, row._asdict())


def _chunks(elements: Sequence[Element], size: int) -> Iterator[Any]:
    for start in range(0, len(elements), size):
        yield elements[start : start + size]
