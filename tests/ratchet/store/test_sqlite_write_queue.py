"""Writers of one SQLite file take turns."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

from ratchet.store.database import Store
from ratchet.store.predictions import PredictionWriter
from ratchet.store.sqlite_write_queue import Line
from tests.store_rows import prediction

SECONDS = 1.5


def test_nobody_has_the_turn_with_another(tmp_path: Path) -> None:
    inside, most, done = 0, 0, []

    def take_turns() -> None:
        nonlocal inside, most
        line = Line(str(tmp_path / "db"))
        for _ in range(200):
            with line.turn(30.0) as mine:
                assert mine
                inside += 1
                most = max(most, inside)
                inside -= 1
        line.leave()
        done.append(1)

    threads = [threading.Thread(target=take_turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, len(done)) == (1, 4)


def test_who_has_stood_in_line_for_long_goes_on(tmp_path: Path) -> None:
    holder, other = Line(str(tmp_path / "db")), Line(str(tmp_path / "db"))
    with holder.turn(1.0):
        begun = time.monotonic()
        with other.turn(0.1) as mine:
            assert not mine
            assert time.monotonic() - begun >= 0.1
    with other.turn(0.1) as mine:
        assert mine


def write(url: str, number: int, begin: Any, counts: Any) -> None:
    store = Store(url)
    writer = PredictionWriter(store, patience=30.0)
    count = 0
    begin.wait(60)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        writer.write([prediction(number * 1_000_000 + count)])
        count += 1
    counts[number] = count
    writer.close()


def test_of_two_steady_writers_none_starves(tmp_path: Path) -> None:
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
    # Without the line, one of the two makes hardly any transaction at all.
    assert min(counts) > max(counts) / 5, list(counts)
