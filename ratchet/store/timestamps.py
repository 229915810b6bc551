"""Times in ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_utc(seconds: float, precision: str = "seconds") -> str:
    """Return a Unix time in ISO 8601, UTC, such as ``2026-01-31T18:00:00+00:00``.

    Parameters
    ----------
    seconds: since 1970.
    precision: ``seconds`` or ``milliseconds``.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=precision)
