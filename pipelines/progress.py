"""What ZenML says while it runs: step events for our own display, its chatter only where asked for."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Event = Literal["started", "finished", "cached", "failed"]
Listener = Callable[[str, Event], None]

# ZenML offers hooks for steps that run, but none for steps that it takes from the cache; its log has them all.
_EVENTS: dict[Event, re.Pattern[str]] = {
    "started": re.compile(r"Step `(\w+)` has started"),
    "finished": re.compile(r"Step `(\w+)` has finished"),
    "cached": re.compile(r"Using cached version of step `(\w+)`"),
    "failed": re.compile(r"Step (\w+) failed"),
}
_CHATTY = ("mlflow", "alembic", "skl2onnx", "git")


class _StepEvents(logging.Handler):
    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.INFO)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("zenml"):
            return
        message = record.getMessage()
        for event, pattern in _EVENTS.items():
            if found := pattern.search(message):
                self._listener(found[1], event)


def hush() -> None:
    """Keep the chatter of libraries off the console; their warnings about us stay."""
    for name in (*_CHATTY, "zenml"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def step_events(listener: Listener, *, verbose: bool) -> Iterator[None]:
    """Tell ``listener`` of every step that starts, finishes, fails or is taken from the cache.

    Parameters
    ----------
    listener: called with the step's name and the event.
    verbose: leave the libraries' own output on the console.
    """
    import zenml.logger

    root = logging.getLogger()
    handler = _StepEvents(listener)
    consoles = [h for h in root.handlers if isinstance(h, zenml.logger.ZenMLConsoleHandler)]
    levels = {h: h.level for h in consoles}
    zenml_log = logging.getLogger("zenml")
    zenml_level = zenml_log.level
    zenml_log.setLevel(logging.INFO)  # the events are told at this level, whoever hushed it before
    root.addHandler(handler)
    if not verbose:
        for console in consoles:
            console.setLevel(logging.CRITICAL + 1)
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.removeHandler(handler)
        zenml_log.setLevel(zenml_level)
        for console, level in levels.items():
            console.setLevel(level)
