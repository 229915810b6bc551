"""The tables that retention keeps within limits, one entry each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ratchet.loop.retention import Limits
from ratchet.loop.retention.needs import Needs
from ratchet.store.archive_columns import to_table
from ratchet.store.batch_columns import batches_to_table
from ratchet.store.predictions import first_id
from ratchet.store.tables import (
    drift_results,
    feedback,
    holdout_trials,
    label_checks,
    late_predictions,
    prediction_batches,
    predictions,
    quality_results,
    training_runs,
)

if TYPE_CHECKING:
    import pyarrow as pa

Condition = sa.ColumnElement[bool]
Row = dict[str, Any]

# Rows that are read together, and rows after which a file of batches is full.
PAGE = 20_000
# Windows and checks of labels that are kept of each model: triggers, status and debounce read the newest.
_NEWEST_WINDOWS = 100
# Trials on a holdout that the gate counts; see ``ratchet.registry.holdout_trials``.
_NEWEST_TRIALS = 2_000
_FIRST_ROW, _LAST_ROW = "#00000", "#99999"
_ID_LENGTH = 36


@dataclass(frozen=True)
class Table:
    """A table that retention keeps within limits.

    Attributes
    ----------
    key: the column that orders the rows by time, and names the files.
    limit: returns the key from which on all rows of a model stay; None if all stay.
    may_go: returns the conditions of the rows that no one needs; they are checked again as a row is deleted.
    kind: of the files in the archive; None if the rows are deleted in any case.
    read: returns the next rows that match some conditions, in the order of the key.
    encode: returns rows as Arrow columns.
    weight: a column with the number of rows that a row stands for.
    takes_feedback: whether feedback on a row can arrive until the row is deleted.
    """

    table: sa.Table
    key: str
    limit: Callable[[sa.Connection, Needs, Limits], Any]
    may_go: Callable[[Needs], Sequence[Condition]]
    kind: str | None
    read: Callable[[sa.Connection, Table, Sequence[Condition]], list[Row]]
    encode: Callable[[Sequence[Row], pa.Schema | None], pa.Table]
    weight: str | None = None
    takes_feedback: bool = False

    @property
    def column(self) -> sa.Column[Any]:
        """The column of the key."""
        return self.table.c[self.key]


def read_rows(connection: sa.Connection, table: Table, where: Sequence[Condition]) -> list[Row]:
    """Return the next rows of a table, up to ``PAGE``."""
    statement = sa.select(table.table).where(*where).order_by(table.column).limit(PAGE)
    return [dict(row._mapping) for row in connection.execute(statement)]


def read_batches(connection: sa.Connection, table: Table, where: Sequence[Condition]) -> list[Row]:
    """Return the next batches, with about ``PAGE`` rows in all."""
    ids, rows = [], 0
    heads = sa.select(table.table.c.id, table.table.c.n_rows).where(*where).order_by(table.column).limit(500)
    for batch_id, n_rows in connection.execute(heads):
        ids.append(batch_id)
        rows += n_rows
        if rows >= PAGE:
            break
    chosen = sa.select(table.table).where(table.column.in_(ids)).order_by(table.column)
    return [dict(row._mapping) for row in connection.execute(chosen)]


def _limit_of_predictions(connection: sa.Connection, needs: Needs, limits: Limits) -> str | None:
    """Return the id from which on predictions stay: a signed link to any of these can still be valid."""
    linked = first_id(needs.now - limits.links)
    by_age = "" if limits.age is None else min(linked, first_id(needs.now - limits.age))
    newest = "" if limits.rows is None else _nth_newest(connection, needs.model, limits.rows)
    return max(by_age, min(newest, linked)) or None


def _nth_newest(connection: sa.Connection, model: str, n: int) -> str:
    """Return the id of a model's n-th newest prediction, or of its batch; an empty text if there are fewer."""
    single = sa.select(predictions.c.id, sa.literal(1).label("n_rows")).where(predictions.c.model == model)
    batch = sa.select(prediction_batches.c.id, prediction_batches.c.n_rows).where(prediction_batches.c.model == model)
    both = single.union_all(batch).order_by(sa.desc("id")).execution_options(yield_per=PAGE)
    found = 0
    with connection.execute(both) as rows:
        for prediction_id, n_rows in rows:
            found += n_rows
            if found >= n:
                return str(prediction_id)
    return ""


def _limit_by_number(
    table: sa.Table, key: str, newest: int, connection: sa.Connection, needs: Needs, limits: Limits
) -> int | None:
    """Return the number from which on the rows of a table stay, whose numbers follow their times."""
    column, mine = table.c[key], table.c.model == needs.model
    numbers = sa.select(column).where(mine).order_by(column.desc())
    found = []
    if limits.age is not None:
        found.append(_first_since(connection, table, key, needs.model, needs.now - limits.age))
    if limits.rows is not None:
        found.append(connection.scalar(numbers.offset(limits.rows - 1).limit(1)))
    limit = max((number for number in found if number is not None), default=None)
    if limit is None or not newest:
        return limit
    kept = connection.scalar(numbers.offset(newest - 1).limit(1))
    return None if kept is None else min(limit, kept)


def _first_since(connection: sa.Connection, table: sa.Table, key: str, model: str, at: float) -> int | None:
    """Return the number from which on rows are of an instant or later, by bisection; None without rows."""
    column, mine = table.c[key], table.c.model == model
    first, last = connection.execute(sa.select(sa.func.min(column), sa.func.max(column)).where(mine)).one()
    if first is None:
        return None
    low, high = int(first), int(last) + 1
    while low < high:
        middle = (low + high) // 2
        following = sa.select(column, table.c.created_at).where(mine, column >= middle).order_by(column).limit(1)
        number, created_at = connection.execute(following).one()
        if created_at >= at:
            high = middle
        else:
            low = int(number) + 1
    return low


def _no_open_run(needs: Needs) -> Condition:
    run = training_runs.c
    return ~sa.exists().where(run.model == needs.model, run.state == "open")


def _predictions_may_go(table: sa.Table, ids: Callable[[Any], Condition], needs: Needs) -> list[Condition]:
    """Return the conditions of single predictions, or of batches, by whether an id is theirs."""
    found = [_no_open_run(needs)]
    if needs.labels_after is not None:
        waiting = sa.and_(ids(feedback.c.prediction_id), feedback.c.seq > needs.labels_after)
        found.append(~sa.exists().where(waiting))
    if needs.unjudged_after is not None:
        found.append(sa.or_(table.c.version != needs.champion, table.c.id <= needs.unjudged_after))
    if needs.late_after is not None:
        late = late_predictions.c
        mine = sa.and_(late.model == needs.model, late.version == needs.champion, late.id > needs.late_after)
        found.append(~sa.exists().where(mine, ids(late.id)))
    return found


def _is_single(column: Any) -> Condition:
    condition: Condition = column == predictions.c.id
    return condition


def _is_of_batch(column: Any) -> Condition:
    batch = prediction_batches.c.id
    return sa.or_(column == batch, column.between(batch.concat(_FIRST_ROW), batch.concat(_LAST_ROW)))


def _late_may_go(needs: Needs) -> list[Condition]:
    if needs.late_after is None:
        return []
    return [sa.or_(late_predictions.c.version != needs.champion, late_predictions.c.id <= needs.late_after)]


def _feedback_may_go(needs: Needs) -> list[Condition]:
    """Feedback stays as long as its prediction does: without it, other feedback would be accepted."""
    of_batch = sa.func.substr(feedback.c.prediction_id, 1, _ID_LENGTH)
    found = [
        _no_open_run(needs),
        ~sa.exists().where(predictions.c.id == feedback.c.prediction_id),
        ~sa.exists().where(prediction_batches.c.id == of_batch),
    ]
    return found if needs.labels_after is None else [*found, feedback.c.seq <= needs.labels_after]


def _drift_may_go(needs: Needs) -> list[Condition]:
    """The last window of the champion stays, since the next one follows it."""
    table = drift_results.c
    last = sa.and_(table.version == needs.champion, table.last_prediction >= needs.judged_up_to)
    return [sa.not_(sa.func.coalesce(last, sa.false()))] if needs.judged_up_to else []


def _numbered(table: sa.Table, key: str, newest: int, may_go: Callable[[Needs], Sequence[Condition]]) -> Table:
    limit = partial(_limit_by_number, table, key, newest)
    return Table(table, key, limit, may_go, table.name, read_rows, partial(_encoded, table))


def _encoded(table: sa.Table, rows: Sequence[Row], like: pa.Schema | None) -> pa.Table:
    return to_table(rows, table, like)


# In the order in which they are moved: feedback follows its prediction.
TABLES = (
    Table(
        predictions,
        "id",
        _limit_of_predictions,
        partial(_predictions_may_go, predictions, _is_single),
        "predictions",
        read_rows,
        partial(_encoded, predictions),
        takes_feedback=True,
    ),
    Table(
        prediction_batches,
        "id",
        _limit_of_predictions,
        partial(_predictions_may_go, prediction_batches, _is_of_batch),
        "predictions",
        read_batches,
        batches_to_table,
        weight="n_rows",
        takes_feedback=True,
    ),
    Table(
        late_predictions,
        "id",
        _limit_of_predictions,
        _late_may_go,
        None,
        read_rows,
        partial(_encoded, late_predictions),
    ),
    _numbered(feedback, "seq", 0, _feedback_may_go),
    _numbered(drift_results, "id", _NEWEST_WINDOWS, _drift_may_go),
    _numbered(quality_results, "id", _NEWEST_WINDOWS, lambda needs: ()),
    _numbered(label_checks, "id", _NEWEST_WINDOWS, lambda needs: ()),
    _numbered(holdout_trials, "id", _NEWEST_TRIALS, lambda needs: ()),
)
