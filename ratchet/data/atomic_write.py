"""Files that a reader sees whole: as they were, or as they have become."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Named so that in a folder of the user's nothing else is swept with them.
_PREFIX, _SUFFIX = ".ratchet-", ".partial"
# Nothing takes a day to write: its writer was killed.
_FORSAKEN = 86_400.0


def write_whole(target: Path, write: Callable[[Path], Any], mode: int = 0o666) -> None:
    """Write beside the target, bring it to the disk, and rename it over the target.

    Whatever goes wrong, nothing is left behind; what a killed process has left is removed a day later.

    Parameters
    ----------
    target: in a folder that is there.
    write: is given the path to write to, an empty file.
    mode: the rights of the file, less those that the umask takes away.

    Raises
    ------
    OSError: it cannot be written; the target is as it was.
    """
    _sweep(target.parent)
    partial = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        write(partial)
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    for partial in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # another one sweeps too, or it is another user's
            if time.time() - partial.stat().st_mtime > _FORSAKEN:
                partial.unlink()
