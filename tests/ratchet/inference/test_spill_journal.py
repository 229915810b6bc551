from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import StateError
from ratchet.inference.spill_journal import Journal
from ratchet.store.database import Store
from ratchet.store.predictions import Prediction, find_prediction, insert_predictions
from tests.conftest import ROOT
from tests.store_rows import prediction


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def replayed(folder: Path) -> list[Prediction]:
    """The rows that another process would move into the store."""
    rows: list[Prediction] = []
    journal = Journal(folder)
    assert journal.replay(rows.extend) == len(rows)
    return rows


def fails(rows: Sequence[Prediction]) -> None:
    raise StateError("the store is down")


def program(body: str, folder: Path) -> subprocess.Popen[str]:
    """A Python process that has a journal in this folder, and rows to write."""
    begin = (
        "import json, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from ratchet.inference.spill_journal import Journal\n"
        "journal, rows = Journal(Path(sys.argv[1])), json.loads(sys.argv[2])\n"
    )
    rows = json.dumps([prediction(number) for number in range(100)])
    return subprocess.Popen(
        [sys.executable, "-c", begin + body, str(folder), rows],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_rows_are_moved_once(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(1), prediction(2, score=None, probabilities=None)])
    journal.append([prediction(3)])
    journal.release()
    assert replayed(folder) == [prediction(1), prediction(2, score=None, probabilities=None), prediction(3)]
    assert replayed(folder) == []
    assert journal.segments() == []


def test_a_journal_without_rows_creates_no_folder(folder: Path) -> None:
    assert Journal(folder).segments() == []
    assert replayed(folder) == []
    assert not folder.exists()


def test_segments_are_moved_in_the_order_of_their_creation(folder: Path) -> None:
    journal = Journal(folder)
    for number in range(5):
        journal.append([prediction(number)])
        journal.release()
    assert len(journal.segments()) == 5
    assert [row["id"] for row in replayed(folder)] == [prediction(number)["id"] for number in range(5)]


def test_rows_can_be_written_after_a_release(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    journal.release()
    journal.append([prediction(2)])
    assert replayed(folder) == [prediction(1)]
    journal.release()
    assert replayed(folder) == [prediction(2)]


def test_a_row_is_on_the_disk_before_append_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []

    def spy(descriptor: int) -> None:
        (segment,) = Journal(folder).segments()
        synced.append(segment.read_bytes())
        real(descriptor)

    real = os.fdatasync
    monkeypatch.setattr("ratchet.inference.spill_journal.os.fdatasync", spy)
    journal = Journal(folder)
    journal.append([prediction(1)])
    assert len(synced) == 1
    assert prediction(1)["id"].encode() in synced[0]
    journal.release()


def test_only_the_owner_can_read_a_segment(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    assert [path.stat().st_mode & 0o077 for path in journal.segments()] == [0]
    journal.release()


def test_many_threads_write_whole_rows(folder: Path) -> None:
    journal = Journal(folder)

    def write(start: int) -> None:
        for number in range(start, start + 25):
            journal.append([prediction(number)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(0, 100, 25)))
    journal.release()
    assert {row["id"] for row in replayed(folder)} == {prediction(number)["id"] for number in range(100)}


def test_replaying_a_segment_twice_changes_nothing(folder: Path, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    journal = Journal(folder)
    journal.append([prediction(1), prediction(2)])
    journal.release()

    def killed_after_it(rows: Sequence[Prediction]) -> None:
        insert_predictions(store, rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.replay(killed_after_it)
    assert journal.replay(lambda rows: insert_predictions(store, rows)) == 2
    assert find_prediction(store, prediction(2)["id"]) == prediction(2)
    store.engine.dispose()


def test_a_store_that_fails_leaves_the_journal_as_it_is(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    journal.release()
    (segment,) = journal.segments()
    content = segment.read_bytes()
    with pytest.raises(StateError):
        journal.replay(fails)
    assert segment.read_bytes() == content
    assert replayed(folder) == [prediction(1)]


def test_a_store_that_fails_half_way_keeps_the_rest(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(number) for number in range(2500)])
    journal.release()
    taken: list[Prediction] = []

    def full(rows: Sequence[Prediction]) -> None:
        if taken:
            raise StateError("the store is full")
        taken.extend(rows)

    with pytest.raises(StateError):
        journal.replay(full)
    assert 0 < len(taken) < 2500
    assert len(replayed(folder)) == 2500


def test_a_segment_is_replayed_only_after_its_process_has_ended(folder: Path) -> None:
    process = program("journal.append(rows[1:2])\nprint('written', flush=True)\nsys.stdin.read()", folder)
    assert process.stdout
    assert process.stdout.readline() == "written\n"
    assert replayed(folder) == []
    assert len(Journal(folder).segments()) == 1
    process.kill()
    process.communicate()
    assert replayed(folder) == [prediction(1)]
    assert Journal(folder).segments() == []


def test_two_processes_that_replay_at_the_same_time_move_each_row_once(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    journal.release()
    meanwhile: list[Prediction] = []
    assert journal.replay(lambda rows: meanwhile.extend(replayed(folder))) == 1
    assert meanwhile == []


def test_a_new_segment_is_never_mistaken_for_an_abandoned_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock
    interrupted: list[int] = []

    def another_process_replays_first(descriptor: int, operation: int) -> None:
        if not interrupted:
            interrupted.append(descriptor)
            replayed(folder)
        real(descriptor, operation)

    monkeypatch.setattr("ratchet.inference.locked_files.fcntl.flock", another_process_replays_first)
    journal = Journal(folder)
    journal.append([prediction(1)])
    journal.release()
    assert interrupted
    assert replayed(folder) == [prediction(1)], "the row was acknowledged"


@pytest.mark.parametrize("half", ['{"id": "00', '{"id": "1", "created_at": 17', "{", "\x00\x00\x00\x00"])
def test_half_a_last_row_is_skipped_and_logged(folder: Path, half: str, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(folder)
    journal.append([prediction(1), prediction(2)])
    journal.release()
    (segment,) = journal.segments()
    with segment.open("a") as file:
        file.write(half)
    assert replayed(folder) == [prediction(1), prediction(2)]
    assert "ends with half a row, left by a crash" in caplog.text
    assert journal.segments() == []


_write = os.write


def disk_is_full(descriptor: int, content: Any) -> int:
    """Write half of it, and nothing the next time."""
    if len(content) < 100:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _write(descriptor, content[: len(content) - 99])


def test_a_row_that_does_not_fit_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    with monkeypatch.context() as full:
        full.setattr("ratchet.inference.spill_journal.os.write", disk_is_full)
        with pytest.raises(OSError, match="No space left on device"):
            journal.append([prediction(2), prediction(3)])
    journal.append([prediction(4)])
    journal.release()
    assert replayed(folder) == [prediction(1), prediction(4)]


def test_a_first_row_that_does_not_fit_leaves_no_segment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(folder)
    with monkeypatch.context() as full:
        full.setattr("ratchet.inference.spill_journal.os.write", disk_is_full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left on device"):
                journal.append([prediction(1)])
    assert journal.segments() == []
    journal.append([prediction(2)])
    journal.release()
    assert replayed(folder) == [prediction(2)]


def test_a_row_that_cannot_be_synced_is_refused_and_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = Journal(folder)
    journal.append([prediction(1)])
    with monkeypatch.context() as broken:
        broken.setattr("ratchet.inference.spill_journal.os.fdatasync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            journal.append([prediction(2)])
    journal.release()
    assert replayed(folder) == [prediction(1)]


def test_a_process_survives_the_limit_of_a_file_size(folder: Path) -> None:
    process = program(
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal.append(rows[1:2])\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))\n"
        "try: journal.append(rows[2:99])\n"
        "except OSError as error: print(error.strerror)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "journal.append(rows[99:])\n",
        folder,
    )
    said, _ = process.communicate(timeout=60)
    assert (said, process.returncode) == ("File too large\n", 0)
    assert replayed(folder) == [prediction(1), prediction(99)]
