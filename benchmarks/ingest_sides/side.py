"""What every side prints at its end: wall and processor time, peak memory, and what it learned."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

TARGET = "y"


def report(begun: float, means: Sequence[float]) -> None:
    """Print a JSON line: seconds since ``begun``, processor seconds, peak memory (MB, by the kernel), and the means.

    Processor time is that of the whole process, all threads and imports included.
    """
    processor = time.process_time()
    seconds = time.perf_counter() - begun
    peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    figures = {"seconds": seconds, "processor": processor, "peak_mb": int(peak) * 1024 / 1e6}
    print(json.dumps({**figures, "means": list(means)}))
