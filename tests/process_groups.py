"""End a process with all of its children, for tests that start processes in sessions of their own."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def kill_group(leader: int) -> None:
    """Kill what is left of the process group of a process that was started in a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
