"""Moving the rows of a table out of the store, in transactions so short that other writers hardly wait."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from ratchet.feedback.table import feedback_transaction
from ratchet.loop.retention import Limits
from ratchet.loop.retention.day_files import DayFiles
from ratchet.loop.retention.needs import Needs
from ratchet.loop.retention.tables import Condition, Row, Table
from ratchet.store.database import Store
from ratchet.store.failpoints import failpoint
from ratchet.store.retention_positions import note_moved

# Seconds that a transaction may take; its number of rows follows from that.
_LONGEST = 0.004
_FEWEST, _MOST = 100, 4_000
# The share of the time that transactions may take: others write in the rest.
_SHARE = 0.2
_NICE = 10


@dataclass(frozen=True)
class Moved:
    """Rows of a table that leave, or have left, the store.

    Attributes
    ----------
    kind: the name of the table.
    rows: a batch counts with all its rows.
    size: in bytes, in the store or, after the move, in the archive.
    oldest: seconds since the epoch; None if it is not known.
    """

    kind: str
    model: str
    rows: int
    size: int
    oldest: float | None


def leaving(store: Store, table: Table, needs: Needs, limits: Limits) -> Moved | None:
    """Return what would leave a table, with an estimated size; None if nothing would."""
    with store.reading() as connection:
        where = _leaving(connection, table, needs, limits)
        first = where and table.read(connection, table, where)
        if not where or not first:
            return None
        count = sa.func.count() if table.weight is None else sa.func.sum(table.table.c[table.weight])
        rows = int(connection.scalar(sa.select(count).select_from(table.table).where(*where)) or 0)
    sizes = [_size(row) for row in first[:200]]
    weight = sum(row[table.weight] if table.weight else 1 for row in first[:200])
    oldest = first[0].get("created_at")
    return Moved(table.table.name, needs.model, rows, round(sum(sizes) * rows / weight), oldest)


class Mover:
    """Moves rows into the archive, or deletes them, within a ``with`` block.

    Rows are read and encoded on a thread with a low priority, so that requests go first. Transactions are not: a thread
    that waits for the processor would keep others waiting for the store.

    Parameters
    ----------
    files: where rows go; None deletes them.
    """

    def __init__(self, store: Store, files: DayFiles | None) -> None:
        self._store, self._files = store, files
        self._step = _FEWEST
        self._background = ThreadPoolExecutor(1, "retention", partial(os.nice, _NICE))

    def __enter__(self) -> Mover:
        return self

    def __exit__(self, *_: object) -> None:
        self._background.shutdown()

    def move(self, table: Table, needs: Needs, limits: Limits) -> Moved | None:
        """Move the rows that leave a table; return them, or None if there are none.

        Rows are deleted when the archive has them durably. A row that is needed meanwhile, such as for new feedback,
        stays, and is not archived twice.

        Raises
        ------
        StateError: the store or the archive cannot be used; what was moved before stays moved.
        """
        rows, size, oldest = 0, 0, None
        with self._store.reading() as connection:
            where = _leaving(connection, table, needs, limits)
        after: list[Condition] = []
        while where:
            page, written = self._background.submit(self._archive, table, needs.model, [*where, *after]).result()
            if not page:
                break
            failpoint("retention_after_archive")
            oldest, size = oldest or page[0].get("created_at"), size + written
            rows += self._delete(table, needs, page)
            after = [table.column > page[-1][table.key]]
        return Moved(table.table.name, needs.model, rows, size, oldest) if rows else None

    def _archive(self, table: Table, model: str, where: Sequence[Condition]) -> tuple[list[Row], int]:
        """Return the next rows, which the archive has then, and the bytes that it grew by."""
        with self._store.reading() as connection:
            page = table.read(connection, table, where)
        return page, 0 if self._files is None or not page else self._files.add(table, model, page)

    def _delete(self, table: Table, needs: Needs, page: Sequence[Row]) -> int:
        """Delete rows that can still go; return their number."""
        deleted, place = 0, 0
        while place < len(page):
            some = page[place : place + self._step]
            place += len(some)
            found, held = self._delete_at_once(table, needs, [row[table.key] for row in some])
            deleted += found
            failpoint("retention_after_delete")
            self._step = max(_FEWEST, min(_MOST, int(self._step * min(2.0, _LONGEST / held))))
            time.sleep(held * (1 - _SHARE) / _SHARE)
        return deleted

    def _delete_at_once(self, table: Table, needs: Needs, keys: Sequence[Any]) -> tuple[int, float]:
        """Delete rows in one transaction; return the number of rows, and the seconds that others had to wait."""
        weight = sa.literal(1) if table.weight is None else table.table.c[table.weight]
        statement = sa.delete(table.table).where(table.column.in_(keys), *table.may_go(needs)).returning(weight)
        # One lock keeps feedback from being recorded on a row between the check of the conditions and the deletion. A
        # power cut may undo a deletion: the archive has the rows, and the next move deletes them.
        opened = feedback_transaction if table.takes_feedback else Store.transaction
        with opened(self._store, durable=False) as connection:
            begun = time.perf_counter()
            found = sum(connection.scalars(statement))
            if found and table.takes_feedback:
                note_moved(self._store, connection, needs.model, keys[-1], archived=self._files is not None)
        return int(found), max(time.perf_counter() - begun, 1e-6)


def _leaving(connection: sa.Connection, table: Table, needs: Needs, limits: Limits) -> list[Condition]:
    """Return the conditions of the rows that leave a table; none if no row does."""
    limit = table.limit(connection, needs, limits)
    if limit is None:
        return []
    return [table.table.c.model == needs.model, table.column < limit, *table.may_go(needs)]


def _size(row: Row) -> int:
    """Return about how many bytes a row takes."""
    return sum(len(value) if isinstance(value, bytes | str) else len(str(value)) for value in row.values())
