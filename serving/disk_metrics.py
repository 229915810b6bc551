"""Prometheus metrics of the file system that holds the home."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)


class DiskCollector(Collector):
    """Gauges of the free space and the size of the file system that holds the home."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the bytes that an unprivileged user can write, and all bytes; nothing if the home is unreadable."""
        try:
            usage = shutil.disk_usage(self._home)
        except OSError as error:
            logger.debug("the metrics of the home are not exported: %s", error)
            return
        for name, text, value in (
            ("ratchet_disk_free_bytes", "Free bytes on the file system of the home.", usage.free),
            ("ratchet_disk_size_bytes", "Size of the file system of the home in bytes.", usage.total),
        ):
            family = GaugeMetricFamily(name, text, labels=["path"])
            family.add_metric(["home"], value)
            yield family
