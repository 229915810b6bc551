"""The archive: rows that retention moved out of the store, in Parquet files by kind, model and day.

The files are ``<root>/<kind>/model=<model>/date=<UTC day>/<first key>.parquet``, with the partitions that pandas,
DuckDB and Spark call hive partitions. A file is written whole, and never changed except by ``Archive.rewrite``. A
process that writes, rewrites or deletes files holds ``archive_lease``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, unquote

from ratchet.data.atomic_write import write_whole
from ratchet.errors import StateError, one_line
from ratchet.private_files import FILE, create_folder
from ratchet.store import leases
from ratchet.store.archive_columns import from_table
from ratchet.store.failpoints import failpoint

if TYPE_CHECKING:
    import pyarrow as pa

    from ratchet.settings import Settings
    from ratchet.store.database import Store

PREDICTIONS = "predictions"
_SUFFIX = ".parquet"
_LEASE = "archive"
_LEASE_TTL = 60.0

_Row = TypeVar("_Row", bound=Mapping[str, Any])


@dataclass(frozen=True)
class ArchiveFile:
    """A file of the archive.

    Attributes
    ----------
    path: from the root of the archive.
    kind: the table that the rows come from; rows of batches are ``predictions`` too.
    day: the UTC day on which the rows were created.
    size: in bytes.
    """

    path: str
    kind: str
    model: str
    day: date
    size: int

    @property
    def first_key(self) -> str:
        """The lowest key of its rows when it was written: of predictions, the lowest id."""
        return unquote(self.path.rpartition("/")[2].removesuffix(_SUFFIX))


class _Files(Protocol):
    """The storage under the root; all paths are relative to it."""

    def sizes(self, under: str) -> dict[str, int]: ...

    def read(self, path: str) -> bytes: ...

    def write(self, path: str, content: bytes) -> None: ...

    def delete(self, path: str) -> None: ...


class Archive:
    """The files under ``RATCHET_ARCHIVE``.

    Every method raises ``StateError`` where the folder or the bucket cannot be read or written.

    Attributes
    ----------
    root: the folder or the URL.
    """

    def __init__(self, settings: Settings) -> None:
        self.root = settings.archive_root
        self._files: _Files = _Bucket(self.root) if "://" in self.root else _Folder(Path(self.root))

    def files(self, kind: str = "", model: str | None = None, day: date | None = None) -> list[ArchiveFile]:
        """Return the files in the order of their paths: of a kind or of all, of a model or of all, of a day or of all.

        Files that have another layout are left out.
        """
        known = [kind, model and f"model={_quoted(model)}", day and f"date={day.isoformat()}"]
        under = "/".join(part for part in takewhile(bool, known) if part)
        found = (_parsed(path, size) for path, size in sorted(self._files.sizes(under).items()))
        return [
            file
            for file in found
            if file is not None and kind in ("", file.kind) and model in (None, file.model) and day in (None, file.day)
        ]

    def address(self, file: ArchiveFile) -> str:
        """Return the path or URL of a file, for other tools."""
        return f"{self.root.rstrip('/')}/{file.path}"

    def read(self, file: ArchiveFile, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of a file, or some columns of them."""
        import pyarrow.parquet as pq

        content = io.BytesIO(self._files.read(file.path))
        with _damage_reported(self.address(file)):
            return pq.read_table(content, columns=None if columns is None else list(columns))

    def rows(self, file: ArchiveFile) -> list[dict[str, Any]]:
        """Return the rows of a file as the store returns them, with the column ``model``."""
        return [{"model": file.model} | row for row in from_table(self.read(file))]

    def rows_with(self, file: ArchiveFile, column: str, value: str) -> list[dict[str, Any]]:
        """Return the rows of a file that have a value in a column of text."""
        import pyarrow.compute as pc

        table = self.read(file)
        found = table.filter(pc.equal(table.column(column), value))
        return [{"model": file.model} | row for row in from_table(found)]

    def write(self, kind: str, model: str, day: date, key: str, table: pa.Table) -> ArchiveFile:
        """Write a new file, durably; return when it is on the disk, or stored by the bucket.

        Parameters
        ----------
        key: the first key of its rows, which names it; a file of that name is replaced.
        table: from ``ratchet.store.archive_columns.to_table``.
        """
        path = f"{kind}/model={_quoted(model)}/date={day.isoformat()}/{_quoted(key)}{_SUFFIX}"
        content = _as_parquet(table)
        self._files.write(path, content)
        return ArchiveFile(path, kind, model, day, len(content))

    def rewrite(self, file: ArchiveFile, table: pa.Table) -> ArchiveFile:
        """Replace the rows of a file, whole and durably: a reader sees the old rows or the new ones."""
        content = _as_parquet(table)
        self._files.write(file.path, content)
        return ArchiveFile(file.path, file.kind, file.model, file.day, len(content))

    def delete(self, file: ArchiveFile) -> None:
        """Delete a file, if it exists."""
        self._files.delete(file.path)

    def find(self, prediction_id: str) -> tuple[ArchiveFile, dict[str, Any]] | None:
        """Return an archived prediction with the file that it is in; None if it is in none.

        Ids sort by time, so that at most the files of three days are read.
        """
        files = self.files(PREDICTIONS)
        days = _days_around(prediction_id)
        for file in reversed(files):
            if file.first_key <= prediction_id and (not days or file.day in days):
                for row in self.rows_with(file, "id", prediction_id):
                    return file, row
        return None


def archive_lease(store: Store, wait: float = leases.WAIT) -> AbstractContextManager[leases.Lease]:
    """Hold the right to change the archive, and to move rows into it; it is renewed while the block runs.

    Raises
    ------
    StateError: another process held it for the whole of ``wait`` seconds.
    """
    return leases.held(store, _LEASE, _LEASE_TTL, wait, renewed=True)


class _Folder:
    """A folder of this machine, readable for its owner alone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def sizes(self, under: str) -> dict[str, int]:
        with _reported(str(self._root)):
            found = self._root.joinpath(under).rglob(f"*{_SUFFIX}")
            return {path.relative_to(self._root).as_posix(): path.stat().st_size for path in found}

    def read(self, path: str) -> bytes:
        with _reported(str(self._root)):
            return self._root.joinpath(path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        target = self._root / path
        with _reported(str(self._root)):
            create_folder(self._root)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, partial(_write, content), mode=FILE)
            for folder in (target.parent, *target.parent.parents):  # a new folder is an entry of the one above it
                _sync(folder)
                if folder == self._root:
                    break

    def delete(self, path: str) -> None:
        target = self._root / path
        with _reported(str(self._root)):
            if target.exists():
                target.unlink()
                _sync(target.parent)


class _Bucket:
    """A store of objects, by fsspec: an object is put whole, or not at all."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")
        with _reported(root, Exception):
            import fsspec

            self._system, self._base = fsspec.core.url_to_fs(self._root, use_listings_cache=False)

    def sizes(self, under: str) -> dict[str, int]:
        with _reported(self._root, Exception):
            try:
                found = self._system.find(f"{self._base}/{under}".rstrip("/"), detail=True)
            except FileNotFoundError:
                return {}
            return {
                path.removeprefix(self._base).lstrip("/"): int(info["size"])
                for path, info in found.items()
                if path.endswith(_SUFFIX)
            }

    def read(self, path: str) -> bytes:
        with _reported(self._root, Exception):
            return bytes(self._system.cat_file(f"{self._base}/{path}"))

    def write(self, path: str, content: bytes) -> None:
        with _reported(self._root, Exception):
            self._system.pipe_file(f"{self._base}/{path}", content)

    def delete(self, path: str) -> None:
        with _reported(self._root, Exception):
            if self._system.exists(f"{self._base}/{path}"):
                self._system.rm_file(f"{self._base}/{path}")


@contextmanager
def _reported(root: str, kind: type[Exception] = OSError) -> Iterator[None]:
    """Raise errors of the storage as ``StateError``; the clients of buckets raise errors of many classes."""
    try:
        yield
    except kind as error:
        raise StateError(f"the archive {root}: {one_line(error)}; see RATCHET_ARCHIVE") from error


@contextmanager
def _damage_reported(address: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise StateError(f"{address}: is no Parquet file of the archive, or is damaged: {one_line(error)}") from None


def _as_parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(table, content, compression="zstd")
    return content.getvalue()


def _quoted(name: str | None) -> str:
    """Return a name as hive partitions write it; ``#`` of the ids of batches would end a URL."""
    return quote(name or "", safe="")


def _parsed(path: str, size: int) -> ArchiveFile | None:
    parts = path.split("/")
    if len(parts) != 4:
        return None
    kind, model, day, _ = parts
    if not model.startswith("model=") or not day.startswith("date="):
        return None
    try:
        return ArchiveFile(
            path, kind, unquote(model.removeprefix("model=")), date.fromisoformat(day.removeprefix("date=")), size
        )
    except ValueError:
        return None


def _days_around(prediction_id: str) -> frozenset[date]:
    """Return the day of a prediction, by its id of version 7, and its neighbours; none for another kind of id."""
    try:
        at = datetime.fromtimestamp(int(prediction_id[:13].replace("-", ""), 16) / 1000, UTC).date()
    except (ValueError, OverflowError, OSError):
        return frozenset()
    if prediction_id[14:15] != "7":
        return frozenset()
    return frozenset(at + timedelta(days=days) for days in (-1, 0, 1))


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    failpoint("archive_before_rename")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def by_day(rows: Sequence[_Row], at: str = "created_at") -> dict[date, list[_Row]]:
    """Return rows by the UTC day of a column with seconds since the epoch, each in their order."""
    days: dict[date, list[_Row]] = {}
    for row in rows:
        days.setdefault(datetime.fromtimestamp(row[at], UTC).date(), []).append(row)
    return days
