"""Avoid work that Python and ZenML repeat in a short-lived process."""

from __future__ import annotations

import atexit
import functools
import gc
import importlib.metadata
import logging
from collections.abc import Iterator
from contextlib import contextmanager

# A run allocates millions of objects, nearly all of them modules and classes that live until its end.
_ALLOCATIONS_PER_COLLECTION = 100_000


def collect_garbage_rarely() -> None:
    """Raise the thresholds of the garbage collector, which finds nothing while libraries are imported."""
    gc.set_threshold(_ALLOCATIONS_PER_COLLECTION, 20, 20)


def exit_quickly() -> None:
    """Close ZenML's log handlers, and exempt all objects from the last garbage collection.

    The collection takes over a second. The handlers start threads to flush, which Python 3.12 refuses during shutdown.
    """
    logging.shutdown()
    atexit.unregister(logging.shutdown)
    gc.collect(0)
    gc.freeze()


@contextmanager
def cached_package_scan() -> Iterator[None]:
    """Cache which package a module belongs to: ZenML needs it for every artifact, and each call scans the disk."""
    scan = importlib.metadata.packages_distributions
    importlib.metadata.packages_distributions = functools.cache(scan)
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = scan
