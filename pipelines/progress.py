"""Step events from ZenML's log, and the log levels of libraries."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Event = Literal["started", "finished", "cached", "failed"]
Listener = Callable[[str, Event], None]

# ZenML has no hook for steps that it takes from the cache, but it logs every event.
_EVENTS: dict[Event, re.Pattern[str]] = {
    "started": re.compile(r"Step `(\w+)` has started"),
    "finished": re.compile(r"Step `(\w+)` has finished"),
    "cached": re.compile(r"Using cached version of step `(\w+)`"),
    "failed": re.compile(r"Step (\w+) failed"),
}
_VERBOSE_LIBRARIES = ("mlflow", "alembic", "skl2onnx", "git")


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


def silence_libraries() -> None:
    """Show only errors of ZenML, MLflow and other libraries that log a lot."""
    _silence(*_VERBOSE_LIBRARIES, "zenml")


def _silence(*libraries: str) -> None:
    for name in libraries:
        logging.getLogger(name).setLevel(logging.ERROR)
    # MLflow sets its level when it is imported, which can be later.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")


@contextmanager
def step_events(listener: Listener, *, verbose: bool) -> Iterator[None]:
    """Call ``listener`` with the name of each step that starts, finishes, fails or is cached, and with the event.

    Parameters
    ----------
    listener: takes name and event.
    verbose: whether the output of libraries stays on the console.
    """
    import zenml.logger

    root, zenml_log = logging.getLogger(), logging.getLogger("zenml")
    handler = _StepEvents(listener)
    consoles = [h for h in root.handlers if isinstance(h, zenml.logger.ZenMLConsoleHandler)]
    changed: list[logging.Logger | logging.Handler] = [zenml_log, *consoles]
    levels = [each.level for each in changed]
    zenml_log.setLevel(logging.INFO)  # of the events
    root.addHandler(handler)
    if not verbose:
        for console in consoles:
            console.setLevel(logging.CRITICAL + 1)
        _silence(*_VERBOSE_LIBRARIES)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for each, level in zip(changed, levels, strict=True):
            each.setLevel(level)
