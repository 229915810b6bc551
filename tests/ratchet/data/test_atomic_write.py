"""Files are complete or unchanged after any error of the writer."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratchet.data.atomic_write import write_whole
from tests.conftest import ROOT


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writes(text: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(text)


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", writes("old"))
    seen = []

    def write(path: Path) -> None:
        path.write_text("half of the n")
        seen.append((tmp_path / "file").read_text())
        path.write_text("new")

    write_whole(tmp_path / "file", write)
    assert seen == ["old"]
    assert (tmp_path / "file").read_text() == "new"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    write_whole(tmp_path / "file", writes("old"))

    def write(path: Path) -> None:
        path.write_text("half")
        raise error

    with pytest.raises(error):
        write_whole(tmp_path / "file", write)
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_file_has_the_given_permissions_less_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "usual", writes(""))
        write_whole(tmp_path / "private", writes(""), mode=0o600)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "private")] == [0o640, 0o600]


def test_the_partial_file_of_a_killed_process_is_deleted_after_a_day(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from ratchet.data.atomic_write import write_whole\n"
        "write_whole(Path(sys.argv[1]), lambda path: os.kill(os.getpid(), signal.SIGKILL))"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "file"], cwd=ROOT, check=False, timeout=60)
    (left,) = tmp_path.iterdir()
    write_whole(tmp_path / "file", writes("new"))
    assert left.exists(), "the writer may still run"
    (tmp_path / "download.partial").touch()
    for path in (left, tmp_path / "download.partial"):
        os.utime(path, (time.time() - 90_000,) * 2)
    write_whole(tmp_path / "file", writes("newer"))
    assert names(tmp_path) == ["download.partial", "file"]
