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
from ratchet.inference.journal_rows import to_line
from ratchet.inference.spill_journal import Journal
from ratchet.store.database import Store
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import Prediction, insert_predictions
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


def written(folder: Path, *lines: bytes) -> Path:
    """Write a segment of a process that has ended."""
    folder.mkdir(exist_ok=True)
    path = folder / "0.journal"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def without(*names: str, **more: Any) -> bytes:
    """A line of a release whose rows have other columns."""
    return json.dumps({k: v for k, v in {**prediction(9), **more}.items() if k not in names}).encode()


BAD_LINES = {
    "a truncated line": without()[:-40],
    "a changed line": to_line(prediction(9)).strip().replace(b"setosa", b"satose"),
    "a wrong checksum": b"00000000 " + without(),
    "no JSON": b"{nothing",
    "no row": b"[1, 2]",
    "invalid Unicode": without().replace(b"blue", b"bl\xff\xfe"),
    "an empty line": b"",
    "a missing column": without("features"),
    "a missing value": without(prediction=None),
    "a value of another type": without(created_at="yesterday"),
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_cannot_be_read_is_set_aside_and_the_others_are_moved(
    bad: bytes, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(folder, to_line(prediction(1)).strip(), bad, to_line(prediction(2)).strip())
    journal, rows = Journal(folder), list[Prediction]()
    assert journal.replay(rows.extend) == 2
    assert rows == [prediction(1), prediction(2)]
    assert journal.segments() == []
    assert path.with_suffix(".bad").read_bytes() == bad + b"\n"
    assert path.with_suffix(".bad").stat().st_mode & 0o077 == 0
    assert journal.bad_rows() == 1
    assert "line 2 cannot be read" in caplog.text
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert replayed(folder) == [], "it is not tried again"


def test_a_row_of_an_earlier_or_a_later_schema_is_fitted_to_this_one(folder: Path) -> None:
    written(folder, without("score", "probabilities"), without(added_later=1))
    assert replayed(folder) == [prediction(9, score=None, probabilities=None), prediction(9)]


def test_lines_without_a_checksum_are_read(folder: Path) -> None:
    written(folder, json.dumps(prediction(1)).encode())
    assert replayed(folder) == [prediction(1)]


def test_a_row_that_the_store_refuses_is_set_aside_alone(folder: Path, any_store: Store) -> None:
    with any_store.transaction() as connection:
        create = "CREATE TRIGGER no_nine BEFORE INSERT ON predictions WHEN NEW.version = '9'"
        connection.exec_driver_sql(f"{create} BEGIN SELECT RAISE(ABORT, 'version 9 is not allowed'); END")
    try:
        journal = Journal(folder)
        rows = [prediction(number, version="9" if number in (3, 17) else "3") for number in range(20)]
        journal.append(rows)
        journal.release()
        assert journal.replay(lambda some: insert_predictions(any_store, some)) == 18
        assert (journal.segments(), journal.bad_rows()) == ([], 2)
        for row in rows:
            assert find_prediction(any_store, row["id"]) == (None if row["version"] == "9" else row)
    finally:
        with any_store.transaction() as connection:
            connection.exec_driver_sql("DROP TRIGGER no_nine")


def test_a_text_that_postgresql_cannot_hold_is_set_aside(folder: Path, store: Store) -> None:
    journal = Journal(folder)
    journal.append([prediction(1), prediction(2, model="m" * 300), prediction(3)])
    journal.release()
    journal.replay(lambda some: insert_predictions(store, some))
    assert journal.segments() == []
    assert find_prediction(store, prediction(3)["id"]) == prediction(3)
    assert journal.bad_rows() == (0 if store.is_sqlite else 1)


def test_rows_are_tried_again_after_their_file_was_renamed(folder: Path) -> None:
    path = written(folder, without("features"))
    assert replayed(folder) == []
    path.with_suffix(".bad").rename(path)
    path.write_bytes(without() + b"\n")
    assert replayed(folder) == [prediction(9)]
    assert Journal(folder).bad_rows() == 0


def test_an_unreadable_segment_does_not_keep_the_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = written(folder, to_line(prediction(1)).strip())
    journal = Journal(folder)
    journal.append([prediction(2)])
    journal.release()
    read = Path.read_bytes

    def fails_for_one(path: Path) -> bytes:
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", fails_for_one)
    assert replayed(folder) == [prediction(2)]
    assert journal.segments() == [bad]
