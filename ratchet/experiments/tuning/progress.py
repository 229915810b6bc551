"""How trials are told to whoever watches: a step of a pipeline has no way to hand a listener through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ratchet.experiments.tuning.summary import TrialRecord

_LISTENERS: list[Callable[[TrialRecord], None]] = []


def tell(record: TrialRecord) -> None:
    """Tell everybody who listens of a trial that has ended."""
    for listener in _LISTENERS:
        listener(record)


@contextmanager
def listening(listener: Callable[[TrialRecord], None]) -> Iterator[None]:
    """Listen for the time of a block."""
    _LISTENERS.append(listener)
    try:
        yield
    finally:
        _LISTENERS.remove(listener)
