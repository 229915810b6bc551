from __future__ import annotations

import multiprocessing
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ratchet.errors import ConfigError, StateError
from ratchet.settings import Settings
from ratchet.store import database as stores
from ratchet.store import leases
from ratchet.store.database import HEAD, Store, open_store
from ratchet.store.tables import leases as lease_table
from ratchet.store.tables import metadata
from tests.conftest import ROOT, new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, on both kinds of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    name = "s_" + re.sub(r"\W", "_", request.node.name.lower())[:50]
    return new_database(request.getfixturevalue("postgres"), name)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store."""
    made = Store(url)
    yield made
    made.engine.dispose()


def test_the_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    options = {"version_table": stores.VERSION_TABLE}
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_the_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(ROOT / "ratchet" / "store" / "migrations")).get_current_head() == HEAD


def test_opening_a_store_again_changes_nothing(store: Store, url: str) -> None:
    again = Store(url)
    assert again._revision() == HEAD
    again.engine.dispose()


def test_a_newer_schema_is_refused(store: Store, url: str) -> None:
    with store.transaction() as connection:
        connection.execute(sa.text("UPDATE ratchet_alembic_version SET version_num = '9999'"))
    with pytest.raises(StateError, match=f"has schema 9999, this Ratchet knows up to {HEAD}: upgrade Ratchet"):
        Store(url)


def _open(url: str) -> None:
    Store(url).engine.dispose()


def test_processes_that_start_at_once_migrate_once(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    _open(url)


@pytest.mark.sqlite("the home's own store")
def test_the_home_has_the_store_by_default(scratch: Settings) -> None:
    assert open_store(scratch).place == f"sqlite:///{scratch.home}/ratchet.db"


def test_sqlite_is_in_wal_mode_and_synchronous(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    with store.reading() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2


@pytest.mark.parametrize("url", ["foo", "mysql://me:secret@db/x"])
def test_another_kind_of_database_is_told(url: str) -> None:
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


def test_a_locked_store_is_told(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db", timeout=0.1)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="database is locked; this was not written"), store.transaction():
        pass
    other.close()


def test_a_read_only_store_is_told(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path}/store.db").engine.dispose()
    (tmp_path / "store.db").chmod(0o444)
    tmp_path.chmod(0o555)
    program = (
        "import sys\n"
        "from ratchet.store.database import Store\n"
        "from ratchet.store import leases\n"
        "from ratchet.errors import ConfigError, StateError\n"
        "try: leases.acquire(Store(sys.argv[1]), 'x', wait=0)\n"
        "except StateError as error: print('told:', error)\n"
    )
    # Without its capabilities even root has to respect a file's mode.
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    url = f"sqlite:///{tmp_path}/store.db"
    said = subprocess.run([*command, url], capture_output=True, text=True, check=False, cwd=ROOT)
    tmp_path.chmod(0o755)
    assert said.stdout.startswith("told:"), said.stderr


def test_an_exclusive_lock_keeps_others_out_and_says_so(store: Store) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store.exclusive("x"):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(10)
    with pytest.raises(StateError, match="x is locked by another process"), store.exclusive("x", timeout=0.1):
        pass
    with store.exclusive("another name", timeout=0.1):
        pass
    leave.set()
    thread.join()
    with store.exclusive("x", timeout=5):
        pass


def test_a_lease_keeps_others_out_until_it_is_released(store: Store) -> None:
    with leases.held(store, "x") as first:
        with pytest.raises(StateError, match=r"x is held by .* for another \d+ s at most"):
            leases.acquire(store, "x", wait=0)
        leases.check(store, first)
    with leases.held(store, "x") as second:
        assert second.token > first.token


def test_a_lease_that_ran_out_is_taken_over_and_its_first_holder_finds_out(store: Store) -> None:
    first = leases.acquire(store, "x", ttl=0.01)
    _until(lambda: leases.expired(store, "x") is not None)
    second = leases.acquire(store, "x")
    with pytest.raises(StateError, match=r"the lease on x \(token 1\) was taken over"):
        leases.check(store, first)
    leases.release(store, first)
    leases.check(store, second)


def test_a_lease_is_not_taken_over_while_its_holder_is_writing(store: Store) -> None:
    lease = leases.acquire(store, "x", ttl=0.5)
    with store.exclusive("x"):
        leases.check(store, lease)
        _until(lambda: leases.expired(store, "x") is not None)
        taken: list[int] = []
        thread = threading.Thread(target=lambda: taken.append(leases.acquire(store, "x").token))
        thread.start()
        thread.join(0.3)
        assert taken == [], "the lease ran out, but its holder is inside"
    thread.join(20)
    assert taken == [2]


def test_whoever_waits_gets_the_lease(store: Store) -> None:
    first = leases.acquire(store, "x")
    timer = threading.Timer(0.2, lambda: leases.release(store, first))
    timer.start()
    assert leases.acquire(store, "x", wait=10).token == 2
    timer.join()


def test_a_lease_that_nobody_took_is_nobodys(store: Store) -> None:
    assert leases.expired(store, "x") is None
    with pytest.raises(StateError):
        leases.check(store, leases.Lease("x", "me", 1))


def _expiry(store: Store) -> float:
    with store.reading() as connection:
        return float(connection.scalar(sa.select(lease_table.c.expires_at)) or 0)


def test_a_kept_lease_outlives_its_time_and_is_given_back(store: Store) -> None:
    with leases.kept(store, "x", ttl=0.4) as lease:
        first = _expiry(store)
        _until(lambda: _expiry(store) > first + 0.4)
        assert leases.holder(store, "x") == lease.holder
        with pytest.raises(StateError, match=r"x is held by .* for another \d+ s at most"):
            leases.acquire(store, "x", wait=0)
        leases.check(store, lease)
    assert leases.holder(store, "x") is None
    with leases.kept(store, "x", ttl=10) as second:
        assert second.token == lease.token + 1


def test_a_kept_lease_is_given_back_when_its_block_fails(store: Store) -> None:
    with pytest.raises(RuntimeError, match="broken"), leases.kept(store, "x", ttl=10):
        raise RuntimeError("broken")
    assert leases.holder(store, "x") is None


def test_whoever_keeps_a_lease_does_not_wait_for_another_by_default(store: Store) -> None:
    with leases.held(store, "x") as first:
        begun = time.monotonic()
        with pytest.raises(StateError, match=f"x is held by {first.holder}"), leases.kept(store, "x", ttl=10):
            pass
        assert time.monotonic() - begun < 5
        assert leases.holder(store, "x") == first.holder


def test_the_thread_that_keeps_a_lease_stops_when_somebody_has_taken_it(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with leases.kept(store, "x", ttl=0.2) as lease:
        with store.transaction() as connection:
            taken = {"holder": "somebody:1:elsewhere:1", "token": lease.token + 1, "expires_at": time.time() + 60}
            connection.execute(sa.update(lease_table).values(**taken))
        _until(lambda: "the lease on x was taken over by somebody else" in caplog.text)
    assert leases.holder(store, "x") == "somebody:1:elsewhere:1", "it is not ours to give back"


def test_a_lease_can_be_renewed_by_its_holder_alone(store: Store) -> None:
    first = leases.acquire(store, "x", ttl=0.01)
    _until(lambda: leases.holder(store, "x") is None)
    assert leases.renew(store, first, 30), "it ran out, but nobody took it"
    assert leases.holder(store, "x") == first.holder
    leases.release(store, first)
    assert not leases.renew(store, first, 30), "what was given back is not held again"
    second = leases.acquire(store, "x")
    assert not leases.renew(store, first, 30)
    assert leases.holder(store, "x") == second.holder


def test_a_lease_has_a_holder_from_its_grant_to_its_end(store: Store) -> None:
    assert leases.holder(store, "x") is None
    with leases.held(store, "x") as lease:
        assert leases.holder(store, "x") == lease.holder
        assert leases.holder(store, "y") is None
    assert leases.holder(store, "x") is None
    leases.acquire(store, "x", ttl=0.01)
    _until(lambda: leases.holder(store, "x") is None)


def test_the_lease_of_a_process_that_was_killed_is_free_at_once(store: Store, url: str) -> None:
    program = (
        "import os, signal, sys\n"
        "from ratchet.store import leases\n"
        "from ratchet.store.database import Store\n"
        "leases.acquire(Store(sys.argv[1]), 'x', ttl=600)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, url], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert leases.holder(store, "x") is None
    assert leases.expired(store, "x") is not None
    assert leases.acquire(store, "x", wait=0).token == 2


def _until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
