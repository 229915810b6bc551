"""The queue of the writers of one SQLite file."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ratchet.store.database import Store
from ratchet.store.predictions import PredictionWriter
from ratchet.store.sqlite_write_queue import write_turn
from tests.store_rows import prediction

SECONDS = 5.0  # so long that a writer whose process the machine does not run for a second keeps its share


def test_one_writer_at_a_time_has_the_turn(tmp_path: Path) -> None:
    inside, most = 0, 0

    def take_turns(_: int) -> None:
        nonlocal inside, most
        for _ in range(200):
            with write_turn(str(tmp_path / "db"), 30.0) as in_time:
                assert in_time
                inside += 1
                most = max(most, inside)
                inside -= 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take_turns, range(4)))
    assert most == 1


def test_a_writer_that_has_waited_for_long_continues(tmp_path: Path) -> None:
    database = str(tmp_path / "db")
    with write_turn(database, 1.0):
        begun = time.monotonic()
        with write_turn(database, 0.1) as in_time:
            assert not in_time
            assert time.monotonic() - begun >= 0.1
    with write_turn(database, 0.1) as in_time:
        assert in_time


def test_a_folder_that_cannot_be_written_has_no_queue(tmp_path: Path) -> None:
    with write_turn(str(tmp_path / "nowhere" / "db"), 1.0) as in_time:
        assert not in_time


def write(url: str, number: int, begin: Any, counts: Any) -> None:
    writer = PredictionWriter(Store(url))
    count = 0
    begin.wait(60)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with writer.transaction():
            writer.insert([prediction(number * 1_000_000 + count)])
        count += 1
    counts[number] = count
    writer.close()


@pytest.mark.slow  # counts writes in a time, which other tests beside it change
def test_neither_of_two_steady_writers_starves(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    Store(url).engine.dispose()
    spawn = multiprocessing.get_context("spawn")
    begin, counts = spawn.Barrier(2), spawn.Array("i", 2)
    processes = [spawn.Process(target=write, args=(url, number, begin, counts)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    # Without the queue, one of the two hardly writes at all.
    assert min(counts) > max(counts) / 5, list(counts)
