"""The processor time of a server: all of its processes, those that have ended too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int
    ticks: int


def processor_time(leader: int) -> float:
    """Return the seconds of processor time, user and system, of a session's processes and all their descendants.

    A process counts its own time and that of its children that have ended and were waited for. The session finds
    orphans, and the parents find processes that opened a session of their own.
    """
    found = _processes()
    tree = {process.pid for process in found if leader in (process.pid, process.session)}
    while grown := {process.pid for process in found if process.parent in tree} - tree:
        tree |= grown
    return sum(process.ticks for process in found if process.pid in tree) / _TICKS


def _processes() -> list[_Process]:
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:  # it has ended
                continue
            fields = text.rpartition(")")[2].split()  # a name may contain spaces and parentheses
            found.append(_Process(int(folder.name), int(fields[1]), int(fields[3]), sum(map(int, fields[11:15]))))
    return found
