from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import process
from pathlib import Path

import pytest

from serving import shared_folder
from tests.conftest import ROOT
from tests.serving.running import wait_until

HOLDER = """
import sys
from multiprocessing import util
from pathlib import Path
from serving import shared_folder
shared_folder._MEMORY = Path(sys.argv[1])
with shared_folder.shared_folder() as folder:
    assert util.get_temp_dir() == str(folder)
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the memory, for a process without a temporary folder of multiprocessing."""
    monkeypatch.setattr(shared_folder, "_MEMORY", tmp_path)
    monkeypatch.setitem(process.current_process()._config, "tempdir", str(tmp_path))
    return tmp_path


def hold(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that holds a folder."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", HOLDER, str(place)]
    holder = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert holder.stdout is not None
    return holder, Path(holder.stdout.readline().strip())


def test_the_folder_exists_while_the_service_runs_and_has_the_sockets_of_multiprocessing(place: Path) -> None:
    holder, folder = hold(place)
    assert [path.name for path in folder.iterdir()] == ["service.lock"]
    assert holder.communicate() == ("", "")
    assert list(place.iterdir()) == []


def test_the_folder_of_a_killed_service_is_removed_by_the_next_start_and_that_of_a_living_one_is_not(
    place: Path,
) -> None:
    living, kept = hold(place)
    killed, abandoned = hold(place)
    with living:
        with killed:
            killed.kill()
        assert (abandoned / "service.lock").exists()
        with shared_folder.shared_folder() as own:
            assert set(place.iterdir()) == {kept, own}
    assert list(place.iterdir()) == []


def test_only_locked_folders_of_this_user_are_removed(place: Path) -> None:
    """A folder without a lock is being created; a link, or a pipe in place of the lock, belongs to another user."""
    (place / "ratchet-service-new").mkdir()
    (place / "target").mkdir()
    (place / "target" / "service.lock").touch()
    (place / "ratchet-service-link").symlink_to(place / "target")
    (place / "other").mkdir()
    with shared_folder.shared_folder():
        pass
    assert {path.name for path in place.iterdir()} == {"ratchet-service-new", "ratchet-service-link", "target", "other"}
    assert (place / "target" / "service.lock").exists()


def test_two_starts_at_once_remove_an_abandoned_folder_together(place: Path) -> None:
    killed, _ = hold(place)
    with killed:
        killed.kill()
    with ThreadPoolExecutor(3) as starts:
        holders = list(starts.map(hold, [place] * 3))
    assert set(place.iterdir()) == {folder for _, folder in holders}
    for holder, _ in holders:
        holder.communicate()
    wait_until(lambda: list(place.iterdir()) == [], 10)
    assert os.access(place, os.W_OK)
