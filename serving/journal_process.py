"""The process that moves the rows of the journal into the store, so that the workers do not wait for the store."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from ratchet.inference.journal import Journal
from ratchet.inference.journal_mover import MoverLoop
from ratchet.settings import Settings, load_settings
from ratchet.store.database import open_store
from serving.environment import prepare_environment
from serving.json_logging import log_as_json

# What the workers need goes first; the default is 0, the lowest priority 19.
_NICENESS = 5
# Seconds, beyond the timeout of requests, for which rows of workers that still run are moved after the stop.
_GRACE = 2.0


def journal_of(settings: Settings) -> Journal:
    """Return the journal of the home."""
    return Journal(settings.home / "journal")


def mover_of(settings: Settings) -> MoverLoop:
    """Return what moves the rows of the home's journal into the store."""
    return MoverLoop(journal_of(settings), lambda: open_store(settings, settings.log_patience))


def move_journal() -> None:
    """Move rows until SIGTERM, and then until the workers have ended."""
    prepare_environment()
    settings = load_settings()
    log_as_json(settings.log_level)
    os.nice(_NICENESS)
    mover, segments = mover_of(settings), journal_of(settings).segments
    signal.signal(signal.SIGTERM, lambda *_: mover.stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    mover.run(last_move=_until(settings.request_timeout + _GRACE, lambda: not segments()))


def _until(seconds: float, condition: Callable[[], bool]) -> Callable[[], bool]:
    """Return whether a condition is true, or that number of seconds has passed since the first call."""
    first: list[float] = []

    def reached() -> bool:
        first.append(time.monotonic())
        return condition() or first[-1] - first[0] > seconds

    return reached
