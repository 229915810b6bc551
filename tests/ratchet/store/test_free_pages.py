"""The space of deleted rows goes back to the file system."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.store.database import Store
from ratchet.store.free_pages import free_pages, give_back, vacuum
from ratchet.store.predictions import insert_predictions
from ratchet.store.tables import predictions
from tests.store_rows import prediction

ROWS = 3000


def filled(path: Path) -> Store:
    """A store from which most of many rows were deleted."""
    store = Store(f"sqlite:///{path}")
    insert_predictions(store, [prediction(number, features={"a": "x" * 400}) for number in range(ROWS)])
    with store.transaction() as connection:
        connection.execute(sa.delete(predictions).where(predictions.c.id < prediction(ROWS - 100)["id"]))
    store.checkpoint()
    return store


def file_of_an_earlier_release(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE other (a)")
    return path


def test_a_new_file_gives_the_pages_of_deleted_rows_back(tmp_path: Path) -> None:
    store = filled(tmp_path / "store.db")
    size = (tmp_path / "store.db").stat().st_size
    returned = give_back(store)
    assert returned > 0.6 * size
    assert (tmp_path / "store.db").stat().st_size == size - returned
    found = free_pages(store)
    assert found is not None
    assert (found.incremental, found.excess) == (True, 0)
    assert give_back(store) == 0
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(predictions)) == 100
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    store.engine.dispose()


def test_a_file_of_an_earlier_release_is_left_until_it_is_vacuumed(tmp_path: Path) -> None:
    path = file_of_an_earlier_release(tmp_path / "store.db")
    store = filled(path)
    found = free_pages(store)
    assert found is not None
    assert (found.incremental, found.excess > 0) == (False, True)
    assert give_back(store) == 0
    size = path.stat().st_size
    assert vacuum(store) > 0.7 * size
    assert path.stat().st_size < 0.3 * size
    found = free_pages(store)
    assert found is not None
    assert (found.incremental, found.free) == (True, 0)
    insert_predictions(store, [prediction(number + ROWS) for number in range(ROWS)])
    with store.transaction() as connection:
        connection.execute(sa.delete(predictions))
    assert give_back(store) > 0
    store.engine.dispose()


def test_a_locked_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    filled(tmp_path / "store.db").engine.dispose()
    store = Store(f"sqlite:///{tmp_path}/store.db", timeout=0.1)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for give in (give_back, vacuum):
            with pytest.raises(StateError, match="locked"):
                give(store)
    store.engine.dispose()


def test_postgresql_is_left_to_its_autovacuum(shared_postgresql: Store) -> None:
    assert (free_pages(shared_postgresql), give_back(shared_postgresql), vacuum(shared_postgresql)) == (None, 0, 0)
