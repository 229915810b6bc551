"""Rows on their way into the archive: each in one file of its day, however often a move is repeated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from ratchet.loop.retention.tables import PAGE, Row, Table
from ratchet.store.archive import Archive, ArchiveFile, by_day
from ratchet.store.archive_columns import is_json

if TYPE_CHECKING:
    import pyarrow as pa


class DayFiles:
    """Adds rows to the archive; the caller holds its lease.

    A move that was killed between the archive and the store is repeated: rows that a file of their day has are not
    written again. Rows are added to the last file of the day until it has ``PAGE`` rows, so that moving a few rows each
    hour does not leave a file for each hour.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._schemas: dict[tuple[str, str], pa.Schema | None] = {}
        self._keys: dict[str, pa.Array] = {}

    def add(self, table: Table, model: str, rows: Sequence[Row]) -> int:
        """Write rows durably; return the bytes that the archive grew by."""
        if table.kind is None:
            return 0
        days = by_day(rows)
        return sum(self._add_of_day(table, table.kind, model, day, days[day]) for day in sorted(days))

    def _add_of_day(self, table: Table, kind: str, model: str, day: date, rows: Sequence[Row]) -> int:
        import pyarrow as pa
        import pyarrow.compute as pc

        new = table.encode(rows, self._schema(kind, model))
        files = self._archive.files(kind, model, day)
        for file in files:
            known = self._keys_of(file, table.key)
            if len(new) and len(known) and known[-1].as_py() >= new.column(table.key)[0].as_py():
                new = new.filter(pc.invert(pc.is_in(new.column(table.key), value_set=known)))
        if not len(new):
            return 0
        self._schemas[kind, model] = new.schema
        first = new.column(table.key)[0].as_py()
        last = files[-1] if files else None
        if last is not None and len(self._keys_of(last, table.key)) < PAGE and last.first_key <= file_key(first):
            before = self._archive.read(last)
            if _are_alike(before.schema, new.schema):
                both = pa.concat_tables([before, new], promote_options="permissive").sort_by(table.key)
                return self._kept(self._archive.rewrite(last, both), both, table.key) - last.size
        return self._kept(self._archive.write(kind, model, day, file_key(first), new), new, table.key)

    def _kept(self, file: ArchiveFile, rows: pa.Table, key: str) -> int:
        # Without those of other days and models, which are finished.
        self._keys = {path: keys for path, keys in self._keys.items() if _folder(path) == _folder(file.path)}
        self._keys[file.path] = rows.column(key).combine_chunks()
        return file.size

    def _keys_of(self, file: ArchiveFile, key: str) -> pa.Array:
        if file.path not in self._keys:
            self._keys[file.path] = self._archive.read(file, [key]).sort_by(key).column(key).combine_chunks()
        return self._keys[file.path]

    def _schema(self, kind: str, model: str) -> pa.Schema | None:
        """Return the schema of the newest file of a model."""
        if (kind, model) not in self._schemas:
            newest = self._archive.files(kind, model)[-1:]
            self._schemas[kind, model] = self._archive.read(newest[0]).schema if newest else None
        return self._schemas[kind, model]


def file_key(key: Any) -> str:
    """Return a key as the name of a file, so that names sort like keys."""
    return f"{key:012d}" if isinstance(key, int) else str(key)


def _are_alike(one: pa.Schema, other: pa.Schema) -> bool:
    """Whether two files can be one: the same columns are JSON text, and the others have types that can be widened."""
    import pyarrow as pa

    try:
        pa.unify_schemas([one, other], promote_options="permissive")
    except pa.ArrowException:
        return False
    return [*map(is_json, one)] == [*map(is_json, other)]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
