from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.store import sqlite
from ratchet.store.sqlite import write_ahead


@pytest.fixture
def other(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process's connection, during its first write to a new file."""
    connection = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection with a long timeout."""
    connection = sqlite3.connect(tmp_path / "new.db", timeout=600, isolation_level=None)
    yield connection
    connection.close()


@pytest.mark.timeout(60)
def test_sqlite_itself_does_not_wait_to_change_the_mode(other: sqlite3.Connection, ours: sqlite3.Connection) -> None:
    """The reason for ``write_ahead``, which can go when this fails."""
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ours.execute("PRAGMA journal_mode = WAL")


def test_a_file_in_use_is_changed_once_the_other_has_ended(
    other: sqlite3.Connection, ours: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite.time, "sleep", lambda _: other.execute("ROLLBACK"))
    write_ahead(ours, timeout=60)
    assert ours.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_in_use_for_longer_is_refused(other: sqlite3.Connection, ours: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(ours, timeout=0.02)


def test_another_error_is_raised_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: sqlite3.Connection
) -> None:
    monkeypatch.setattr(sqlite.time, "sleep", lambda _: pytest.fail("waited"))
    (tmp_path / "new.db").write_bytes(b"no database" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(ours, timeout=60)
