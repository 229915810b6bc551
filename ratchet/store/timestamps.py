"""Times in ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal


def iso_utc(seconds: float, precision: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """Return a Unix time in ISO 8601, UTC, such as ``2026-01-31T18:00:00+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision)
