from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import UnavailableError
from ratchet.feedback.feedback_log import FeedbackLog, Outcome
from ratchet.feedback.ground_truth import Feedback
from ratchet.feedback.table import Recorded, ServedModel, UnknownPredictionError, feedback_of
from ratchet.inference.journal import Journal
from ratchet.inference.journal_mover import MoverLoop
from ratchet.store.database import Store
from ratchet.store.predictions import first_id, insert_predictions
from tests.locks import locked_file
from tests.ratchet.databases import Database
from tests.store_rows import prediction

pytestmark = pytest.mark.anyio

IRIS = ServedModel("iris", ("setosa", "virginica"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with a hundred predictions."""
    store = Store(f"sqlite:///{tmp_path}/store.db")
    insert_predictions(store, [prediction(number) for number in range(100)])
    store.engine.dispose()
    return tmp_path / "store.db"


@contextlib.asynccontextmanager
async def running(database: Database, journal: Journal | None = None, **options: Any) -> AsyncIterator[FeedbackLog]:
    log = FeedbackLog(database.open, journal or Journal(Path("nowhere")), **options)
    log.start()
    try:
        yield log
    finally:
        database.free.set()
        await log.stop()
        database.close()


def feedback(*numbers: int, target: str = "virginica") -> list[Feedback]:
    return [Feedback(prediction(number)["id"], target=target) for number in numbers]


def recorded(file: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = [row[0] for row in connection.execute("SELECT prediction_id FROM feedback")]
    assert len(rows) == len(set(rows))
    return set(rows)


def ids(*numbers: int) -> set[str]:
    return {prediction(number)["id"] for number in numbers}


async def until_depth(log: FeedbackLog, depth: int) -> None:
    async with asyncio.timeout(10):
        while log.depth != depth:
            await asyncio.sleep(0.005)


async def test_feedback_is_in_the_store_when_record_returns(file: Path) -> None:
    reader = Store(f"sqlite:///{file}")
    async with running(Database(f"sqlite:///{file}")) as log:

        async def record(number: int) -> None:
            (result,) = await log.record(feedback(number), IRIS)
            assert isinstance(result, Recorded)
            assert feedback_of(reader, prediction(number)["id"])[0].target == "virginica"

        await asyncio.gather(*map(record, range(60)))
        assert log.depth == 0
    reader.engine.dispose()


async def test_waiting_feedback_is_written_together(file: Path) -> None:
    outcomes: list[Sequence[Outcome]] = []
    database = Database(f"sqlite:///{file}")
    database.free.clear()
    async with running(database, on_recorded=outcomes.append) as log:
        requests = [asyncio.create_task(log.record(feedback(number), IRIS)) for number in range(100)]
        await until_depth(log, 100)
        database.free.set()
        await asyncio.gather(*requests)
    assert [len(group) for group in outcomes] == [100]
    assert recorded(file) == ids(*range(100))


async def test_each_request_gets_its_own_results_in_its_order(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    database.free.clear()
    async with running(database) as log:
        asked = [feedback(1, 2), feedback(999), feedback(3, 1, 4)]
        requests = [asyncio.create_task(log.record(said, IRIS)) for said in asked]
        await until_depth(log, 6)
        database.free.set()
        first, second, third = await asyncio.gather(*requests)
        assert [result.current.prediction_id for result in first] == [prediction(n)["id"] for n in (1, 2)]
        assert isinstance(second[0], UnknownPredictionError)
        assert [result.status for result in third] == ["recorded", "repeated", "recorded"]


async def test_a_large_batch_is_split_over_transactions(file: Path) -> None:
    outcomes: list[Sequence[Outcome]] = []
    async with running(Database(f"sqlite:///{file}"), on_recorded=outcomes.append) as log:
        results = await log.record(feedback(*range(100)) * 12, IRIS)
        assert [result.status for result in results] == ["recorded"] * 100 + ["repeated"] * 1100
    assert max(len(group) for group in outcomes) <= 500


async def test_all_waiting_feedback_is_refused_while_the_store_is_locked(file: Path) -> None:
    async with running(Database(f"sqlite:///{file}", timeout=0.3)) as log:
        await log.record(feedback(1), IRIS)
        with locked_file(file):
            started = time.monotonic()
            requests = [log.record(feedback(number), IRIS) for number in range(2, 40)]
            results = await asyncio.gather(*requests, return_exceptions=True)
            assert time.monotonic() - started < 3
            assert {type(result) for result in results} == {UnavailableError}
        await log.record(feedback(40), IRIS)
    assert recorded(file) == ids(1, 40)


async def test_feedback_is_refused_until_the_store_can_be_opened(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    database.up = False
    async with running(database) as log:
        for ask in (log.record(feedback(1), IRIS), log.find(prediction(1)["id"], IRIS)):
            with pytest.raises(UnavailableError, match="is down"):
                await ask
        database.up = True
        await log.record(feedback(1), IRIS)
        assert (await log.find(prediction(1)["id"], IRIS)).current


async def test_an_unknown_prediction_is_not_refused_for_good_while_the_journal_holds_rows(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.feedback.feedback_log._LONGEST_WAIT", 0.2)
    journal = Journal(tmp_path / "journal")
    journal.append([prediction(500)])
    async with running(Database(f"sqlite:///{file}"), journal) as log:
        waits, known = await log.record(feedback(500, 1), IRIS)
        assert isinstance(waits, UnavailableError)
        assert isinstance(known, Recorded)
        with pytest.raises(UnavailableError, match="may not be in the store yet"):
            await log.find(prediction(500)["id"], IRIS)
        monkeypatch.setattr("ratchet.feedback.feedback_log._LONGEST_WAIT", 10.0)  # a move may take long
        with moving(file, journal):
            (found,) = await log.record(feedback(500), IRIS)
            assert isinstance(found, Recorded)
            (unknown,) = await log.record(feedback(501), IRIS)
            assert isinstance(unknown, UnknownPredictionError)
            with pytest.raises(UnknownPredictionError):
                await log.find(prediction(501)["id"], IRIS)


@pytest.mark.parametrize("ask", ["record", "find"])
async def test_feedback_waits_for_a_prediction_that_is_in_the_journal_alone(
    file: Path, tmp_path: Path, ask: str
) -> None:
    journal = Journal(tmp_path / "journal")
    async with running(Database(f"sqlite:///{file}"), journal) as log:
        with moving(file, journal):
            for number in range(500, 510):
                journal.append([prediction(number)])
                if ask == "find":
                    assert (await log.find(prediction(number)["id"], IRIS)).predicted.version == "3"
                else:
                    (found,) = await log.record(feedback(number), IRIS)
                    assert isinstance(found, Recorded)


async def test_items_that_wait_for_their_prediction_keep_their_order(file: Path, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append([prediction(500)])
    async with running(Database(f"sqlite:///{file}"), journal) as log:
        asked = asyncio.create_task(log.record(feedback(500, 1, 500, 999), IRIS))
        await asyncio.sleep(0)
        with moving(file, journal):
            first, known, again, unknown = await asked
    assert [result.status for result in (first, known, again)] == ["recorded", "recorded", "repeated"]
    assert isinstance(unknown, UnknownPredictionError)


async def test_a_recent_prediction_may_be_in_the_journal_of_another_machine(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.feedback.feedback_log._LONGEST_WAIT", 0.2)
    now = time.time()
    recent, old, void = (Feedback(f"{first_id(at)}-7000-8000-000000000000", correct=True) for at in (now, 0, 2 * now))
    async with running(Database(f"sqlite:///{file}"), other_journals=True) as log:
        results = await log.record([recent, old, void], IRIS)
        assert [isinstance(result, UnavailableError) for result in results] == [True, False, False]
        assert isinstance(results[1], UnknownPredictionError)
        with pytest.raises(UnavailableError, match="may not be in the store yet"):
            await log.find(recent.prediction_id, IRIS)
    async with running(Database(f"sqlite:///{file}")) as log:
        (unknown,) = await log.record([recent], IRIS)
        assert isinstance(unknown, UnknownPredictionError)


@contextlib.contextmanager
def moving(file: Path, journal: Journal) -> Iterator[None]:
    """Move rows from a journal into the store for the time of a block."""
    mover = MoverLoop(journal, lambda: Store(f"sqlite:///{file}"))
    thread = threading.Thread(target=mover.run)
    thread.start()
    try:
        yield
    finally:
        mover.stop()
        thread.join(10)


async def test_a_store_that_hangs_is_not_waited_for_longer_than_the_timeout(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    database.free.clear()
    async with running(database, timeout=0.2) as log:
        for ask in (log.record(feedback(1), IRIS), log.find(prediction(1)["id"], IRIS)):
            with pytest.raises(UnavailableError, match="the store does not respond"):
                await ask
        assert log.depth == 0
        log._commits._timeout = 30.0  # what follows may take as long as it needs
        database.free.set()
        await asyncio.sleep(0.05)
        await log.record(feedback(2), IRIS)
    assert ids(2) <= recorded(file)


async def test_stopping_writes_the_waiting_feedback(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    database.free.clear()
    async with running(database) as log:
        requests = [asyncio.create_task(log.record(feedback(number), IRIS)) for number in range(50)]
        await until_depth(log, 50)
    await asyncio.gather(*requests)
    assert recorded(file) == ids(*range(50))
    assert not any(thread.name == "feedback-commit" for thread in threading.enumerate())
