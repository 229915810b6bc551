"""How much room is left where the service keeps its files, as Prometheus metrics."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)


class HomeCollector(Collector):
    """Gauges of the file system that the home is on.

    Parameters
    ----------
    home: the folder of stores, caches and journals.
    """

    def __init__(self, home: Path) -> None:
        self._home = home

    def collect(self) -> Iterator[Any]:
        """Free bytes, as whoever is not root may use them, and all bytes; none where the home cannot be read."""
        try:
            found = shutil.disk_usage(self._home)
        except OSError as error:
            logger.debug("the home's metrics are left out: %s", error)
            return
        for name, text, value in (
            ("ratchet_disk_free_bytes", "Bytes that can still be written.", found.free),
            ("ratchet_disk_size_bytes", "Size of the file system.", found.total),
        ):
            family = GaugeMetricFamily(name, text, labels=["path"])
            family.add_metric(["home"], value)
            yield family
