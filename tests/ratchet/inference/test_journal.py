"""The journal of one process, and the mover, with stores that a test replaces by a list."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import StateError
from ratchet.inference.journal import Journal
from ratchet.inference.journal_frames import to_frame
from ratchet.inference.journal_mover import JournalMover, MoverLoop
from ratchet.inference.journal_rows import to_line
from ratchet.store.database import Store
from ratchet.store.prediction_batches import PredictionBatch
from ratchet.store.prediction_rows import find_prediction
from ratchet.store.predictions import Entry, insert_predictions
from tests.conftest import ROOT
from tests.serving.running import wait_until
from tests.store_rows import batch_of, prediction, url_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def replayed(folder: Path) -> list[Entry]:
    """The entries that another process would move into the store."""
    entries: list[Entry] = []
    assert JournalMover(Journal(folder), entries.extend).move() == len(entries)
    return entries


def fails(entries: Sequence[Entry]) -> None:
    raise StateError("the store is down")


def content(segment: Path) -> bytes:
    """What was written to a segment, without the zeros that follow."""
    return segment.read_bytes().rstrip(b"\0")


def write_at_end(segment: Path, more: bytes) -> None:
    """Write after the last frame, as a process does that is killed meanwhile."""
    end = len(content(segment))
    with segment.open("r+b") as file:
        file.seek(end)
        file.write(more)


def program(body: str, folder: Path) -> subprocess.Popen[str]:
    """A Python process that has a journal in this folder, and rows to write."""
    begin = (
        "import json, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from ratchet.inference.journal import Journal\n"
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


def test_batches_are_moved_like_rows_and_in_their_order(folder: Path) -> None:
    journal = Journal(folder)
    entries = [prediction(1), batch_of([prediction(2), prediction(3)]), prediction(4)]
    journal.append(entries)
    journal.release()
    assert replayed(folder) == entries


def test_a_batch_that_is_larger_than_a_segment_is_moved(folder: Path) -> None:
    large = PredictionBatch(prediction(1)["id"], 1.0, "iris", "3", 1, 0.1, os.urandom(9 * 2**20))
    journal = Journal(folder)
    journal.append([prediction(0)])
    journal.append([large])
    journal.append([prediction(2)])
    journal.release()
    assert replayed(folder) == [prediction(0), large, prediction(2)]


def test_a_full_segment_is_followed_by_another_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.inference.journal._SEGMENT_BYTES", 4096)
    journal = Journal(folder)
    for number in range(100):
        journal.append([prediction(number)])
    assert len(journal.segments()) > 5
    rows: list[Entry] = []
    mover = JournalMover(journal, rows.extend)
    assert mover.move() == 100
    assert rows == [prediction(number) for number in range(100)]
    assert len(journal.segments()) == 1, "the open one is kept"


def test_a_segment_is_closed_when_it_is_old_so_that_its_rows_do_not_stay_on_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    journal.release_old()
    assert replayed(folder) == [prediction(1)]
    assert len(journal.segments()) == 1
    monkeypatch.setattr("ratchet.inference.journal._LONGEST_SEGMENT", 0.0)
    journal.release_old()
    assert replayed(folder) == [prediction(1)], "by a mover that does not know how far the first one came"
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
    assert replayed(folder) == [prediction(1), prediction(2)]
    assert len(journal.segments()) == 1
    journal.release()
    assert replayed(folder) == [prediction(2)]
    assert journal.segments() == []


def test_a_row_is_on_the_disk_before_append_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []

    def spy(descriptor: int) -> None:
        (segment,) = Journal(folder).segments()
        synced.append(segment.read_bytes())
        real(descriptor)

    real = os.fdatasync
    monkeypatch.setattr("ratchet.inference.journal.os.fdatasync", spy)
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

    def killed_after_it(rows: Sequence[Entry]) -> None:
        insert_predictions(store, rows)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        JournalMover(journal, killed_after_it).move()
    assert JournalMover(journal, lambda rows: insert_predictions(store, rows)).move() == 2
    assert find_prediction(store, prediction(2)["id"]) == prediction(2)
    store.engine.dispose()


def test_a_store_that_fails_leaves_the_journal_as_it_is(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    journal.release()
    (segment,) = journal.segments()
    content = segment.read_bytes()
    with pytest.raises(StateError):
        JournalMover(journal, fails).move()
    assert segment.read_bytes() == content
    assert replayed(folder) == [prediction(1)]


def test_a_store_that_fails_half_way_keeps_the_rest(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(number) for number in range(2500)])
    journal.release()
    taken: list[Entry] = []

    def full(rows: Sequence[Entry]) -> None:
        if taken:
            raise StateError("the store is full")
        taken.extend(rows)

    with pytest.raises(StateError):
        JournalMover(journal, full).move()
    assert 0 < len(taken) < 2500
    assert len(replayed(folder)) == 2500


def test_rows_of_a_running_process_are_moved_and_its_segment_is_removed_when_it_has_ended(folder: Path) -> None:
    process = program(
        "for row in rows[1:4]:\n"
        "    journal.append([row])\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.readline()\n",
        folder,
    )
    assert process.stdout
    assert process.stdin
    rows: list[Entry] = []
    mover = JournalMover(Journal(folder), rows.extend)
    for number in range(1, 4):
        assert process.stdout.readline() == "written\n"
        assert mover.move() == 1
        assert rows == [prediction(each) for each in range(1, number + 1)]
        assert len(Journal(folder).segments()) == 1
        if number < 3:
            process.stdin.write("next\n")
            process.stdin.flush()
    process.kill()
    process.communicate()
    assert mover.move() == 0
    assert Journal(folder).segments() == []


def test_half_a_frame_of_a_running_process_is_moved_when_it_is_whole(folder: Path) -> None:
    journal, rows = Journal(folder), list[Entry]()
    mover = JournalMover(journal, rows.extend)
    journal.append([prediction(1)])
    (segment,) = journal.segments()
    frame = to_frame(prediction(2))
    write_at_end(segment, frame[:50])
    assert mover.move() == 1
    write_at_end(segment, frame[50:])
    assert mover.move() == 1
    assert rows == [prediction(1), prediction(2)]
    journal.release()
    assert mover.move() == 0
    assert (journal.segments(), journal.bad_rows()) == ([], 0)


def test_rows_that_are_written_while_others_are_moved_are_moved_next(folder: Path) -> None:
    journal, rows = Journal(folder), list[Entry]()

    def insert(entries: Sequence[Entry]) -> None:
        rows.extend(entries)
        if len(rows) < 5:
            journal.append([prediction(len(rows))])

    mover = JournalMover(journal, insert)
    journal.append([prediction(0)])
    while len(rows) < 5:
        assert mover.move() > 0
    assert rows == [prediction(number) for number in range(5)]


@pytest.mark.parametrize("up", [True, False])
def test_one_process_moves_at_a_time_and_another_takes_over(folder: Path, tmp_path: Path, up: bool) -> None:
    journal, url = Journal(folder), f"sqlite:///{tmp_path}/store.db"
    store = Store(url)
    opened: list[int] = []

    def loop(number: int) -> MoverLoop:
        def open_store() -> Store:
            opened.append(number)
            if not up:
                raise StateError("the store is down")
            return Store(url)

        return MoverLoop(journal, open_store)

    loops = [loop(number) for number in range(2)]
    threads = [threading.Thread(target=each.run) for each in loops]
    threads[0].start()
    wait_until(lambda: bool(opened), 10)
    threads[1].start()
    journal.append([prediction(1)])
    if up:
        wait_until(lambda: find_prediction(store, prediction(1)["id"]) is not None, 10)
    assert set(opened) == {0}
    loops[0].stop()
    threads[0].join(10)
    journal.append([prediction(2)])
    wait_until(lambda: 1 in opened, 10)
    loops[1].stop()
    threads[1].join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert not journal.mover_pipe.exists()
    assert (find_prediction(store, prediction(2)["id"]) is not None) == up
    store.engine.dispose()


def test_a_woken_mover_moves_a_row_before_its_interval_has_passed(
    folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ratchet.inference.journal_mover._INTERVAL", 60.0)
    journal = Journal(folder)
    loop = MoverLoop(journal, lambda: Store(url_of(store)))
    thread = threading.Thread(target=loop.run)
    thread.start()
    wait_until(journal.mover_pipe.exists, 10)
    journal.append([prediction(1)])
    asked_at = time.time()
    assert journal.moved_until() <= asked_at
    journal.wake_mover()
    wait_until(lambda: journal.moved_until() > asked_at, 10)
    assert find_prediction(store, prediction(1)["id"]) == prediction(1)
    loop.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_mover_that_starts_for_the_first_time_has_moved_nothing_yet(folder: Path) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])

    def open_store() -> Store:
        assert journal.moved_until() == 0.0
        raise StateError("the store is down")

    loop = MoverLoop(journal, open_store)
    loop.stop()
    loop.run()
    assert journal.moved_until() == 0.0
    assert journal.mover_lock.stat().st_mode & 0o077 == 0


def test_rows_count_as_moved_only_after_a_complete_move(folder: Path) -> None:
    journal = Journal(folder)
    assert journal.moved_until() == float("inf"), "there are none"
    journal.append([prediction(1)])
    journal.mover_lock.touch()
    before = journal.moved_until()
    with pytest.raises(StateError):
        JournalMover(journal, fails).move()
    assert journal.moved_until() == before
    assert JournalMover(journal, lambda entries: None).move() == 1
    assert before < journal.moved_until() < time.time()


def test_a_journal_is_behind_while_no_process_moves_its_rows(folder: Path) -> None:
    journal = Journal(folder)
    assert not journal.is_behind
    journal.append([prediction(1)])
    assert journal.is_behind
    journal.mover_lock.touch()
    assert not journal.is_behind


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


@pytest.mark.parametrize("length", [1, 5, 12, 40, -1])
def test_half_a_last_entry_is_skipped_and_logged(folder: Path, length: int, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(folder)
    journal.append([prediction(1), prediction(2)])
    journal.release()
    (segment,) = journal.segments()
    write_at_end(segment, to_frame(prediction(3))[:length])
    assert replayed(folder) == [prediction(1), prediction(2)]
    assert "ends with half an entry, left by a crash" in caplog.text
    assert (journal.segments(), journal.bad_rows()) == ([], 0)


@pytest.mark.parametrize("half", ['{"id": "00', "{", "\x00\x00\x00\x00"])
def test_half_a_last_line_is_skipped_and_logged(folder: Path, half: str, caplog: pytest.LogCaptureFixture) -> None:
    path = written(folder, to_line(prediction(1)).strip())
    path.write_bytes(path.read_bytes() + half.encode())
    assert replayed(folder) == [prediction(1)]
    assert "ends with half a row, left by a crash" in caplog.text
    assert Journal(folder).segments() == []


@pytest.mark.parametrize("at", [0, 2, 6, 10, 12, 100])
def test_a_damaged_frame_is_set_aside_and_the_others_are_moved(
    folder: Path, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(folder)
    journal.append([prediction(number) for number in range(5)])
    journal.release()
    (segment,) = journal.segments()
    damaged = bytearray(segment.read_bytes())
    damaged[2 * len(to_frame(prediction(0))) + at] ^= 0xFF
    segment.write_bytes(damaged)
    assert replayed(folder) == [prediction(number) for number in (0, 1, 3, 4)]
    assert (journal.segments(), journal.bad_rows()) == ([], 1)
    assert segment.with_suffix(".bad").stat().st_mode & 0o077 == 0
    assert "are damaged and are set aside" in caplog.text


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_damaged_no_whole_frame_is_lost_or_changed(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    journal = Journal(folder)
    entries: list[Entry] = [prediction(number) for number in range(20)]
    entries[7] = batch_of([prediction(100), prediction(101)])
    journal.append(entries)
    journal.release()
    (segment,) = journal.segments()
    damaged, start, whole = bytearray(segment.read_bytes()), 0, []
    for entry in entries:
        frame = to_frame(entry)
        if rng.random() < 0.3:
            damaged[start + rng.randrange(len(frame))] ^= rng.randrange(1, 256)
        else:
            whole.append(entry)
        start += len(frame)
    segment.write_bytes(damaged)
    assert replayed(folder) == whole
    assert journal.segments() == []


_write = os.pwrite


def disk_is_full(descriptor: int, content: Any, position: int) -> int:
    """Write half of it, and nothing the next time."""
    if len(content) < 100:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _write(descriptor, content[: len(content) - 99], position)


def no_room(descriptor: int, position: int, size: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_without_room_for_a_segment_leaves_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(folder)
    with monkeypatch.context() as full:
        full.setattr("ratchet.inference.journal.os.posix_fallocate", no_room)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left on device"):
                journal.append([prediction(1)])
        assert list(folder.iterdir()) == []
    journal.append([prediction(2)])
    assert replayed(folder) == [prediction(2)]


def test_a_row_that_does_not_fit_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(folder)
    journal.append([prediction(1)])
    with monkeypatch.context() as full:
        full.setattr("ratchet.inference.journal.os.pwrite", disk_is_full)
        with pytest.raises(OSError, match="No space left on device"):
            journal.append([prediction(2), prediction(3)])
    journal.append([prediction(4)])
    journal.release()
    assert replayed(folder) == [prediction(1), prediction(4)]


def test_a_first_row_that_does_not_fit_leaves_no_segment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(folder)
    with monkeypatch.context() as full:
        full.setattr("ratchet.inference.journal.os.pwrite", disk_is_full)
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
        broken.setattr("ratchet.inference.journal.os.fdatasync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            journal.append([prediction(2)])
    journal.release()
    assert replayed(folder) == [prediction(1)]


def test_a_segment_is_removed_if_an_entry_was_moved_and_then_cut_off(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, moved = Journal(folder), list[Entry]()
    mover = JournalMover(journal, moved.extend)
    journal.append([prediction(1)])

    def fail(descriptor: int) -> None:
        mover.move()
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("ratchet.inference.journal.os.fdatasync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            journal.append([prediction(2)])
    mover.move()
    assert (moved, journal.segments()) == ([prediction(1), prediction(2)], [])


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
    journal, rows = Journal(folder), list[Entry]()
    assert JournalMover(journal, rows.extend).move() == 2
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
        assert JournalMover(journal, lambda some: insert_predictions(any_store, some)).move() == 18
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
    JournalMover(journal, lambda some: insert_predictions(store, some)).move()
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
