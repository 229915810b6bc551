"""A store that nobody can write to for a while, whichever kind of database it is on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.tables import metadata


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold SQLite's one write lock, or PostgreSQL's locks of all tables, until the block ends."""
    store = open_store(settings)
    if store.is_sqlite:
        connection = sqlite3.connect(str(store.engine.url.database), timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()
    else:
        tables = ", ".join(table.name for table in metadata.sorted_tables)
        with store.engine.begin() as holder:
            holder.execute(sa.text(f"LOCK TABLE {tables} IN EXCLUSIVE MODE"))
            yield
    store.engine.dispose()
