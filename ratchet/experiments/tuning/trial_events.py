"""Listeners for ended trials: a step of a pipeline cannot take a function as an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ratchet.experiments.tuning.summary import TrialRecord

Listener = Callable[[TrialRecord], object]

_LISTENERS: list[Listener] = []


def publish(record: TrialRecord) -> None:
    """Call every listener with a trial that has ended."""
    for listener in _LISTENERS:
        listener(record)


@contextmanager
def subscribed(listener: Listener) -> Iterator[None]:
    """Register a listener for the duration of a block."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)
