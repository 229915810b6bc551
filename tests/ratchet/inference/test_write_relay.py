"""The relay as a process of its own, and a worker's log that writes through it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ratchet.inference.prediction_log import PredictionLog
from ratchet.inference.spill_journal import Journal
from ratchet.inference.write_relay import RelayClient, RelayServer
from ratchet.store.database import Store
from ratchet.store.tables import predictions
from tests.ratchet.inference.test_prediction_log import locked, until
from tests.store_rows import prediction


class Relay:
    """A relay's process, which can be killed, stopped and started again."""

    def __init__(self, url: str, path: Path) -> None:
        self.path = path
        self._url = url
        self.process: Any = None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self.process = multiprocessing.get_context("spawn").Process(
            target=_relay, args=(self._url, str(self.path)), daemon=True
        )
        self.process.start()

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(10)


def _relay(url: str, path: str) -> None:
    asyncio.run(RelayServer(lambda: Store(url)).run(Path(path)))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    found = Store(store_url)
    yield found
    found.engine.dispose()


@pytest.fixture
def relay(store: Store, store_url: str) -> Iterator[Relay]:
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:  # a socket's path is short
        found = Relay(store_url, Path(folder) / "relay")
        found.start()
        yield found
        found.end()


@contextlib.asynccontextmanager
async def worker(
    relay: Relay, url: str, journal: Journal | None = None, **options: Any
) -> AsyncIterator[PredictionLog]:
    """A worker's log, once it has found the relay."""
    client = RelayClient(relay.path)
    log = PredictionLog(lambda: Store(url), journal, client, **options)
    log.start()
    try:
        await until(lambda: client.connected)
        yield log
    finally:
        await log.stop()


def kept(store: Store) -> int:
    with store.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(predictions)) or 0)


def test_what_a_relay_has_acknowledged_is_in_the_store(relay: Relay, store: Store, store_url: str) -> None:
    async def run() -> None:
        async with worker(relay, store_url) as one, worker(relay, store_url) as other:
            for start in range(0, 200, 20):
                await asyncio.gather(
                    *(
                        log.write([prediction(2 * n + half)])
                        for n in range(start, start + 20)
                        for half, log in enumerate((one, other))
                    )
                )
                assert kept(store) == 2 * (start + 20)
            assert (one.depth, other.depth) == (0, 0)

    asyncio.run(run())


def test_rows_on_their_way_to_a_relay_that_is_killed_are_written_all_the_same(
    relay: Relay, store: Store, store_url: str
) -> None:
    async def run() -> None:
        async with worker(relay, store_url) as log:
            writes = [asyncio.create_task(log.write([prediction(n)])) for n in range(500)]
            await asyncio.sleep(0)
            relay.send(signal.SIGKILL)
            await asyncio.gather(*writes)
            assert kept(store) == 500
            relay.end()
            await log.write([prediction(500)])
            assert kept(store) == 501

    asyncio.run(run())


def test_a_relay_that_is_back_is_used_again(relay: Relay, store: Store, store_url: str) -> None:
    async def run() -> None:
        async with worker(relay, store_url) as log:
            client = log._relay
            assert client
            relay.end()
            await until(lambda: not client.connected)
            relay.start()
            await until(lambda: client.connected)
            await log.write([prediction(1)])
            assert kept(store) == 1

    asyncio.run(run())


def test_a_relay_that_hangs_is_left_after_the_patience(relay: Relay, store: Store, store_url: str) -> None:
    async def run() -> None:
        async with worker(relay, store_url, patience=0.2) as log:
            relay.send(signal.SIGSTOP)
            try:
                await asyncio.wait_for(log.write([prediction(1)]), 10)
                assert kept(store) == 1
            finally:
                relay.send(signal.SIGCONT)

    asyncio.run(run())


def test_a_store_that_is_locked_sends_rows_to_the_journal_and_then_to_the_store(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = Store(f"sqlite:///{file}")

    async def run(relay: Relay) -> None:
        journal = Journal(tmp_path / "journal")
        async with worker(relay, f"sqlite:///{file}", journal, patience=0.2) as log:
            await log.write([prediction(1)])
            with locked(file):
                await log.write([prediction(2)])
                assert log.store_is_down
                assert journal.segments()
            await until(lambda: not log.store_is_down and not journal.segments())
            await log.write([prediction(3)])
            assert kept(store) == 3

    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as folder:
        relay = Relay(f"sqlite:///{file}", Path(folder) / "relay")
        relay.start()
        try:
            asyncio.run(run(relay))
        finally:
            relay.end()
            store.engine.dispose()
