from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from ratchet.errors import UnavailableError
from ratchet.inference.journal import Journal
from ratchet.inference.journal_mover import MoverLoop
from ratchet.inference.prediction_log import PredictionLog
from ratchet.settings import Durability
from ratchet.store.database import Store
from ratchet.store.prediction_batches import row_id
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import Prediction
from ratchet.store.tables import predictions
from tests.locks import locked_file
from tests.ratchet.databases import Database
from tests.store_rows import batch_of, prediction, url_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    Store(f"sqlite:///{tmp_path}/store.db").engine.dispose()
    return tmp_path / "store.db"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@contextlib.asynccontextmanager
async def running(database: Database, journal: Journal | None = None, **options: Any) -> AsyncIterator[PredictionLog]:
    """A log that spills to a journal, or is strict without one, and a mover."""
    options = {"durability": "spill" if journal else "strict", **options}
    log = PredictionLog(database.open, journal or Journal(Path("nowhere")), **options)
    log.start()
    try:
        with moving(database, journal) if journal else contextlib.nullcontext():
            yield log
    finally:
        database.free.set()
        await log.stop()
        database.close()


@contextlib.contextmanager
def moving(database: Database, journal: Journal) -> Iterator[None]:
    """Move rows from a journal into the store for the time of a block."""
    mover = MoverLoop(journal, database.open)
    thread = threading.Thread(target=mover.run)
    thread.start()
    try:
        yield
    finally:
        database.free.set()
        mover.stop()
        thread.join(10)
        assert not thread.is_alive()


async def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def ids(file: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM predictions")}


def ids_of(*numbers: int) -> set[str]:
    return {prediction(number)["id"] for number in numbers}


async def test_a_row_is_in_the_store_when_write_returns(store: Store) -> None:
    async with running(Database(url_of(store))) as log:

        async def write(number: int) -> None:
            await log.write([prediction(number)])
            assert find_prediction(store, prediction(number)["id"]) == prediction(number)

        await asyncio.gather(*map(write, range(60)))
        assert log.depth == 0


async def test_a_batch_waits_as_its_rows_and_is_in_the_store_when_it_is_done(store: Store) -> None:
    batch, done = batch_of([prediction(0)] * 30), list[UnavailableError | None]()
    async with running(Database(url_of(store))) as log:
        log.submit([batch, prediction(9)], done.append)
        assert log.depth == 31
        await until(lambda: done)
        assert (done, log.depth) == ([None], 0)
    found = [find_prediction(store, row_id(batch.id, row)) for row in (0, 29, 30)]
    assert found == [batch.row(0), batch.row(29), None]


async def test_a_callback_is_called_when_a_row_is_in_the_store_and_with_the_error_when_it_is_refused(
    sqlite_file: Path,
) -> None:
    database = Database(f"sqlite:///{sqlite_file}")
    done: list[UnavailableError | None] = []
    async with running(database) as log:
        log.submit([prediction(1)], done.append)
        await until(lambda: done)
        assert (done, ids(sqlite_file)) == ([None], ids_of(1))
    database = Database(f"sqlite:///{sqlite_file}", up=False)
    async with running(database) as log:
        log.submit([prediction(2)], done.append)
        await until(lambda: len(done) == 2)
    assert "the store of predictions is down" in str(done[1])


async def test_rows_that_wait_together_are_written_together(store: Store) -> None:
    written: list[int] = []
    database = Database(url_of(store))
    database.free.clear()
    async with running(database, on_written=lambda requests: written.append(sum(map(len, requests)))) as log:
        writes = [asyncio.create_task(log.write([prediction(number)])) for number in range(1000)]
        await until(lambda: log.depth == 1000)
        database.free.set()
        await asyncio.gather(*writes)
    assert sum(written) == 1000
    assert len(written) <= 3, "the rows before the store was open, and the rest"
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(predictions)) == 1000


async def test_rows_are_refused_until_the_store_can_be_opened(sqlite_file: Path) -> None:
    database = Database(f"sqlite:///{sqlite_file}", up=False)
    written: list[Sequence[Prediction]] = []
    async with running(database, on_written=written.extend) as log:
        for number in (1, 2):
            with pytest.raises(UnavailableError, match="the store of predictions is down"):
                await log.write([prediction(number)])
        assert log.store_is_down
        assert written == []
        assert log.depth == 0
        database.up = True
        await until(lambda: not log.store_is_down)
        await log.write([prediction(3)])
    assert ids(sqlite_file) == ids_of(3)


async def test_strict_refuses_rows_while_the_store_is_locked(sqlite_file: Path) -> None:
    async with running(Database(f"sqlite:///{sqlite_file}", timeout=0.1)) as log:
        await log.write([prediction(1)])
        with locked_file(sqlite_file):
            with pytest.raises(UnavailableError, match="the store of predictions is down"):
                await log.write([prediction(2)])
            assert log.store_is_down
        await log.write([prediction(3)])
        assert not log.store_is_down
    assert ids(sqlite_file) == ids_of(1, 3)


async def test_spill_keeps_rows_while_the_store_is_locked_and_moves_them_afterwards(
    sqlite_file: Path, journal: Journal
) -> None:
    async with running(Database(f"sqlite:///{sqlite_file}", timeout=0.3), journal) as log:
        await log.write([prediction(1)])
        with locked_file(sqlite_file):
            await log.write([prediction(2)])
            assert log.store_is_down
            started = time.monotonic()
            for number in range(3, 23):
                await log.write([prediction(number)])
            assert time.monotonic() - started < 0.3 * 10, "no row waits for the store's lock again"
            assert ids(sqlite_file) == ids_of(1)
        await until(lambda: not journal.segments())
        assert ids(sqlite_file) == ids_of(*range(1, 23))
        assert not log.store_is_down
        await log.write([prediction(23)])
        assert ids(sqlite_file) == ids_of(*range(1, 24))


async def test_spill_keeps_rows_while_the_store_cannot_be_opened(store: Store, journal: Journal) -> None:
    database = Database(url_of(store), up=False)
    async with running(database, journal) as log:
        await asyncio.gather(*(log.write([prediction(number)]) for number in range(50)))
        assert find_prediction(store, prediction(0)["id"]) is None
        database.up = True
        await until(lambda: find_prediction(store, prediction(49)["id"]) and not journal.segments())
        assert all(find_prediction(store, prediction(number)["id"]) for number in range(50))


async def test_rows_that_a_killed_service_has_spilled_are_moved(store: Store, journal: Journal) -> None:
    left = Journal(journal.folder)
    left.append([prediction(1), prediction(2)])
    left.release()
    async with running(Database(url_of(store)), journal):
        await until(lambda: not journal.segments())
    assert find_prediction(store, prediction(2)["id"]) == prediction(2)


async def test_rows_that_a_stopped_service_has_spilled_are_moved_by_the_next_one(
    sqlite_file: Path, journal: Journal
) -> None:
    async with running(Database(f"sqlite:///{sqlite_file}", up=False), journal) as log:
        await log.write([prediction(1)])
    assert len(journal.segments()) == 1
    async with running(Database(f"sqlite:///{sqlite_file}"), journal):
        await until(lambda: not journal.segments())
    assert ids(sqlite_file) == ids_of(1)


async def test_a_row_is_refused_if_neither_the_store_nor_the_journal_can_be_written(
    sqlite_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where the journal's folder would be")
    database = Database(f"sqlite:///{sqlite_file}", up=False)
    async with running(database, Journal(tmp_path / "taken")) as log:
        for number in (1, 2):
            with pytest.raises(UnavailableError, match="predictions cannot be saved"):
                await log.write([prediction(number)])
        assert log.depth == 0


@pytest.mark.parametrize("durability", get_args(Durability))
async def test_stopping_writes_the_waiting_rows(
    sqlite_file: Path, journal: Journal, durability: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{sqlite_file}")
    database.free.clear()
    real = os.fdatasync
    monkeypatch.setattr("ratchet.inference.journal.os.fdatasync", lambda file: database.free.wait(30) and real(file))
    log = PredictionLog(database.open, journal, durability=durability)
    log.start()
    writes = [asyncio.create_task(log.write([prediction(number)])) for number in range(100)]
    await until(lambda: log.depth == 100)
    end = asyncio.create_task(log.stop())
    await asyncio.sleep(0)
    database.free.set()
    await end
    await asyncio.gather(*writes)
    with moving(database, journal):
        pass
    assert ids(sqlite_file) == ids_of(*range(100))


async def test_a_clock_that_differs_from_the_stores_is_measured_and_logged(
    sqlite_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Store.now
    monkeypatch.setattr(Store, "now", lambda self, connection: real(self, connection) - 3600)
    log = PredictionLog(lambda: Store(f"sqlite:///{sqlite_file}"), Journal(Path("nowhere")))
    log.start()
    await until(lambda: "s ahead of that of the store" in caplog.text)  # it is measured by another thread, then logged
    assert log.clock_ahead == pytest.approx(3600, abs=5)
    await log.stop()


async def test_a_journal_takes_rows_whatever_the_store_does_and_they_are_in_the_store_within_a_second(
    sqlite_file: Path, journal: Journal
) -> None:
    async with running(Database(f"sqlite:///{sqlite_file}", timeout=0.1), journal, durability="journal") as log:
        with locked_file(sqlite_file):
            for number in range(10):
                await asyncio.gather(*(log.write([prediction(10 * number + each)]) for each in range(10)))
            assert ids(sqlite_file) == set()
        await until(lambda: ids(sqlite_file) == ids_of(*range(100)))
        times = []
        for number in (100, 101, 102):
            started = time.monotonic()
            await log.write([prediction(number), batch_of([prediction(number + 100)], number + 100)])
            await until(lambda number=number: ids(sqlite_file) == ids_of(*range(number + 1)))
            times.append(time.monotonic() - started)
        assert min(times) < 1, "a busy machine may delay one move, but hardly all of them"


async def test_the_store_counts_as_down_while_nothing_moves_the_rows_of_a_journal(
    sqlite_file: Path, journal: Journal
) -> None:
    database = Database(f"sqlite:///{sqlite_file}")
    log = PredictionLog(database.open, journal, durability="journal")
    log.start()
    await log.write([prediction(1)])
    await until(lambda: log.store_is_down)
    with moving(database, journal):
        await until(lambda: not log.store_is_down)
    await log.stop()


async def test_rows_are_refused_while_a_journal_cannot_be_written_and_accepted_afterwards(
    sqlite_file: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(Database(f"sqlite:///{sqlite_file}"), journal, durability="journal") as log:
        await log.write([prediction(1)])
        with monkeypatch.context() as full:
            full.setattr("ratchet.inference.journal.os.pwrite", disk_is_full)
            for number in (2, 3):
                with pytest.raises(UnavailableError, match="predictions cannot be saved"):
                    await log.write([prediction(number)])
        await log.write([prediction(4)])
        await until(lambda: ids(sqlite_file) == ids_of(1, 4))


def disk_is_full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_disk_that_hangs_does_not_stop_the_event_loop(
    sqlite_file: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()
    monkeypatch.setattr("ratchet.inference.journal.os.fdatasync", lambda _: free.wait(30))
    async with running(Database(f"sqlite:///{sqlite_file}"), journal, durability="journal", timeout=0.2) as log:
        with pytest.raises(UnavailableError, match="the store does not respond"):
            await log.write([prediction(1)])
        free.set()


async def test_a_row_that_cannot_be_read_does_not_keep_the_journal_pending(sqlite_file: Path, journal: Journal) -> None:
    rows = [prediction(number) for number in range(3)]
    journal.append(rows)
    journal.release()
    (segment,) = journal.segments()
    segment.with_suffix(".journal").write_bytes(b"an older schema\n")
    with moving(Database(f"sqlite:///{sqlite_file}"), journal):
        await until(lambda: not journal.segments())  # from then on an unknown prediction is 404 and no longer 503
    assert ids(sqlite_file) == {row["id"] for row in rows}
    assert journal.bad_rows() == 1


class WatchedJournal(Journal):
    """A journal that notes whether the event loop's thread has appended."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.by_event_loop: list[bool] = []

    def append(self, entries: Sequence[Any]) -> None:
        self.by_event_loop.append(threading.current_thread() is threading.main_thread())
        super().append(entries)


@pytest.mark.parametrize(("quick", "by_event_loop"), [(1e9, True), (-1.0, False)], ids=["quick disk", "slow disk"])
async def test_the_event_loop_waits_for_a_disk_only_while_it_is_quick(
    quick: float, by_event_loop: bool, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.inference.prediction_log._QUICK", quick)
    journal = WatchedJournal(tmp_path / "journal")
    async with running(Database(url_of(store)), journal, durability="journal") as log:
        for number in range(4):
            await log.write([prediction(number)])
    assert journal.by_event_loop == [False, *[by_event_loop] * 3]
    assert all(find_prediction(store, prediction(number)["id"]) for number in range(4))


@pytest.mark.parametrize("durability", ["strict", "spill"])
async def test_the_event_loop_never_waits_for_a_store(
    durability: Durability, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.inference.prediction_log._QUICK", 1e9)
    database, journal = Database(url_of(store)), WatchedJournal(tmp_path / "journal")
    threads: set[threading.Thread] = set()
    async with running(database, journal, durability=durability, on_written=lambda _: note(threads)) as log:
        for number in range(3):
            await log.write([prediction(number)])
    assert threading.main_thread() not in threads
    assert not any(journal.by_event_loop)


def note(threads: set[threading.Thread]) -> None:
    threads.add(threading.current_thread())
