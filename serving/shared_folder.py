"""The folder that the processes of one service share while it runs."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import current_process
from pathlib import Path

from ratchet.inference.locked_files import create_locked, lock_abandoned

_PREFIX = "ratchet-service-"
# Held locked while the service runs. A folder without it is being created.
_LOCK = "service.lock"
_MEMORY = Path("/dev/shm")  # noqa: S108


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Create the folder for the time of a block, and remove those of services that were killed.

    It is in memory if possible: a process that writes to a mapped file on a full disk is killed.
    """
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    _remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    lock = create_locked(folder / _LOCK)
    try:
        with _sockets_in(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        if _is_own(folder):
            with lock_abandoned(folder / _LOCK) as abandoned:
                if abandoned:
                    shutil.rmtree(folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    """Whether a folder is of this user; others may create anything here, such as a pipe in place of the lock."""
    try:
        found = folder.lstat()
    except FileNotFoundError:  # removed by another start
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


@contextmanager
def _sockets_in(folder: Path) -> Iterator[None]:
    """Make multiprocessing create the socket of its server process here, and not in a folder that a kill leaves.

    It has no public way to say so. A folder that it made itself it would remove at exit, after this one is gone.
    """
    config: dict[str, object] = current_process()._config  # type: ignore[attr-defined]
    before = config.get("tempdir")
    config["tempdir"] = str(folder)
    try:
        yield
    finally:
        config["tempdir"] = before
