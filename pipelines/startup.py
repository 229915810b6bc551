"""Work that Python and ZenML would do again and again in a short-lived process, done once or not at all."""

from __future__ import annotations

import atexit
import functools
import gc
import importlib.metadata
import logging
from collections.abc import Iterator
from contextlib import contextmanager

# A run allocates some millions of objects, nearly all of them modules and classes that live until its end.
_ALLOCATIONS_A_PASS = 100_000


def spare_the_collector() -> None:
    """Look for garbage seldom: while libraries are imported there is none to find."""
    gc.set_threshold(_ALLOCATIONS_A_PASS, 20, 20)


def leave_quickly() -> None:
    """Say goodbye to ZenML's log handlers, and keep the interpreter from searching all modules for garbage.

    The search takes over a second. The handlers start threads to flush, which Python 3.12 refuses once it is
    shutting down.
    """
    logging.shutdown()
    atexit.unregister(logging.shutdown)
    gc.collect(0)
    gc.freeze()


@contextmanager
def one_scan_of_installed_packages() -> Iterator[None]:
    """Remember which package a module belongs to; ZenML asks for every artifact, and each answer scans the disk."""
    scan = importlib.metadata.packages_distributions
    importlib.metadata.packages_distributions = functools.cache(scan)
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = scan
