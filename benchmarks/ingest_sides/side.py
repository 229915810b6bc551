"""What every side says at its end: how long it took, the most memory that it had, and what it learned."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

TARGET = "y"


def report(begun: float, means: Sequence[float]) -> None:
    """Print seconds since ``begun``, peak memory in MB by the kernel's account, and the means, as the last line."""
    seconds = time.perf_counter() - begun
    peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    print(json.dumps({"seconds": seconds, "peak_mb": int(peak) * 1024 / 1e6, "means": list(means)}))
