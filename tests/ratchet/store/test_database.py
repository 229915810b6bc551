from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ratchet.errors import ConfigError, StateError
from ratchet.settings import Settings
from ratchet.store import database
from ratchet.store.database import HEAD, Store, open_store
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import PredictionWriter
from ratchet.store.tables import leases as lease_table
from ratchet.store.tables import metadata
from tests.conftest import ROOT
from tests.store_rows import prediction


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store of the test's own, which may change its schema."""
    made = Store(store_url)
    yield made
    made.engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    # SQLite does not enforce the length of a text.
    options = {"version_table": database.VERSION_TABLE, "compare_type": not store.is_sqlite}
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_the_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(ROOT / "ratchet" / "store" / "migrations")).get_current_head() == HEAD


def test_opening_a_store_again_changes_nothing(store: Store, store_url: str) -> None:
    again = Store(store_url)
    with again.reading() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM ratchet_alembic_version")) == HEAD
    again.engine.dispose()


def test_a_newer_schema_is_refused(store: Store, store_url: str) -> None:
    with store.transaction() as connection:
        connection.execute(sa.text("UPDATE ratchet_alembic_version SET version_num = '9999'"))
    with pytest.raises(StateError, match=f"has schema 9999, this Ratchet supports up to {HEAD}: upgrade Ratchet"):
        Store(store_url)


def _open(url: str) -> None:
    Store(url).engine.dispose()


@pytest.mark.slow
def test_processes_that_start_together_migrate_once(store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(store_url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    _open(store_url)


@pytest.mark.sqlite("the home's own store")
def test_the_home_has_the_store_by_default(scratch: Settings) -> None:
    assert open_store(scratch).address == f"sqlite:///{scratch.home}/ratchet.db"


def test_sqlite_is_in_wal_mode_and_synchronous(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    with store.reading() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2


@pytest.mark.parametrize("url", ["foo", "mysql://me:secret@db/x"])
def test_another_kind_of_database_is_an_error(url: str) -> None:
    with pytest.raises(ConfigError, match="RATCHET_DATABASE_URL: got .*expected postgresql://") as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    with pytest.raises(StateError) as caught:
        Store("postgresql://ratchet:secret@127.0.0.1:1/nothing")
    assert "127.0.0.1:1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_reader_does_not_wait_for_a_writer(store: Store) -> None:
    with store.transaction() as writer:
        writer.execute(sa.insert(lease_table).values(name="x", token=1, expires_at=0.0))
        with store.reading() as reader:
            assert reader.scalar(sa.select(sa.func.count()).select_from(lease_table)) == 0


def test_a_locked_store_is_an_error(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db", timeout=0.1)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="database is locked; nothing was written"), store.transaction():
        pass
    other.close()


def test_a_read_only_store_is_an_error(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path}/store.db").engine.dispose()
    (tmp_path / "store.db").chmod(0o444)
    tmp_path.chmod(0o555)
    program = (
        "import sys\n"
        "from ratchet.store.database import Store\n"
        "from ratchet.store import leases\n"
        "from ratchet.errors import ConfigError, StateError\n"
        "try: leases.acquire(Store(sys.argv[1]), 'x', wait=0)\n"
        "except StateError as error: print('error:', error)\n"
    )
    # Without its capabilities even root has to respect a file's mode.
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    url = f"sqlite:///{tmp_path}/store.db"
    said = subprocess.run([*command, url], capture_output=True, text=True, check=False, cwd=ROOT)
    tmp_path.chmod(0o755)
    assert said.stdout.startswith("error:"), said.stderr


def test_a_checkpoint_empties_a_log_that_has_grown_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    log = tmp_path / "store.db-wal"
    with contextlib.closing(PredictionWriter(store)) as writer:
        for number in range(3):
            with writer.transaction():
                writer.insert([prediction(number)])
        store.checkpoint()
        assert log.stat().st_size > 0, "it is copied, but not truncated"
        monkeypatch.setattr(database, "_LARGEST_WAL", 0)
        store.checkpoint()
        assert log.stat().st_size == 0
        assert find_prediction(store, prediction(2)["id"])
    store.engine.dispose()


def test_transactions_with_the_same_lock_run_one_after_the_other(store: Store) -> None:
    entered = threading.Event()

    def second() -> None:
        with store.transaction(lock="x"):
            entered.set()

    thread = threading.Thread(target=second)
    with store.transaction(lock="x"):
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(10)
    thread.join()
