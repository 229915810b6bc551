"""The files through which the workers share their metrics: those of dead workers are merged into one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

_MARKER = ".pid"
# prometheus_client adds up the counters of all files of this kind.
_DEAD = "counter_dead.db"


def register(folder: Path) -> None:
    """Record that this process has metrics in a folder, and merge those of dead processes."""
    with exclusive(folder):
        merge_dead(folder)
        (folder / f"{os.getpid()}{_MARKER}").touch()


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Keep other processes from merging files while a block runs, so that it counts nothing twice."""
    from filelock import FileLock

    with FileLock(folder / "merge.lock"):
        yield


def merge_dead(folder: Path) -> None:
    """Add the counters of dead processes to one file, and remove the files of these processes; within `exclusive`."""
    for marker in folder.glob(f"*{_MARKER}"):
        pid = int(marker.stem)
        if not _is_alive(pid):
            mark_process_dead(pid, str(folder))  # removes its gauges
            _move(folder / f"counter_{pid}.db", folder / _DEAD)
            marker.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Add the counters of a file to those of another one, which is replaced at once, and remove the first."""
    if not source.exists():
        return
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    merged = MmapedDict(str(partial))
    for path in (source, target):
        if path.exists():
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                merged.write_value(key, merged.read_value(key)[0] + value, 0.0)
    merged.close()
    partial.replace(target)
    source.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
