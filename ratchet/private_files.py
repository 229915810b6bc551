"""Files and folders with rows of data, which only their owner can read, whatever the umask is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FILE, FOLDER = 0o600, 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create_folder(path: Path) -> Path:
    """Create a folder if it is missing, and make it private; return it.

    Raises
    ------
    OSError: it cannot be created.
    """
    path.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    restrict(path)
    return path


def create_file(path: Path) -> None:
    """Create an empty file if it is missing, and make it private.

    Raises
    ------
    OSError: it cannot be created.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE))
    except FileExistsError:
        restrict(path)


def restrict(path: Path) -> None:
    """Take the permissions of group and others away from a file or folder, if it exists.

    Those of another owner are left as they are, and so is a folder that is meant for all users, such as ``/tmp``.
    """
    try:
        found = path.stat()
    except OSError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == os.geteuid() and mode & _OTHERS and not mode & stat.S_ISVTX:
        path.chmod(mode & ~_OTHERS)


def restrict_tree(folder: Path) -> None:
    """Make a folder and all in it private, without following symbolic links."""
    restrict(folder)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if not (path := Path(parent, name)).is_symlink():
                restrict(path)
