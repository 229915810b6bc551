"""Atomic writes: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The clean-up deletes files of these names alone, since the folder may be the user's.
_PREFIX, _SUFFIX = ".ratchet-", ".partial"
# A partial file of this age, in seconds, belongs to a process that was killed.
_ABANDONED_AFTER = 86_400.0


def write_whole(target: Path, write: Callable[[Path], Any], mode: int = 0o666) -> None:
    """Write a temporary file in the folder of the target, flush it to disk, and rename it to the target.

    An error leaves no temporary file. That of a killed process is deleted by a later call, after a day.

    Parameters
    ----------
    target: the file, in an existing folder.
    write: is called with the path of the temporary file, which exists and is empty.
    mode: permissions of the file, before the umask.

    Raises
    ------
    OSError: the file cannot be written; the target is unchanged.
    """
    _delete_abandoned(target.parent)
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


def _delete_abandoned(folder: Path) -> None:
    for partial in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # another process deleted it, or another user owns it
            if time.time() - partial.stat().st_mtime > _ABANDONED_AFTER:
                partial.unlink()
