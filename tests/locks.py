"""Stores that are locked for writing, on both kinds of database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.tables import metadata


@contextmanager
def locked_file(file: Path) -> Iterator[None]:
    """Hold the one write lock of an SQLite file, as a long transaction of another process does."""
    with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold SQLite's one write lock, or PostgreSQL's locks of all tables, until the block ends."""
    store = open_store(settings)
    if store.is_sqlite:
        with locked_file(Path(str(store.engine.url.database))):
            yield
    else:
        tables = ", ".join(table.name for table in metadata.sorted_tables)
        with store.engine.begin() as holder:
            holder.execute(sa.text(f"LOCK TABLE {tables} IN EXCLUSIVE MODE"))
            yield
    store.engine.dispose()
