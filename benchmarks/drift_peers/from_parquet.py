"""A Parquet file in the memory of one batch, beside reading it and throwing it away."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas  # noqa: F401 - imported, so that its memory is no part of the comparison's
import pyarrow.parquet as pq
import scipy.special  # noqa: F401

from ratchet.config import Drift
from ratchet.model.package.profile import Profile
from ratchet.monitoring.drift.report import compare_parquet


def memory(line: str) -> float:
    """A line of the kernel's own account of this process, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024 / 1e6


def main() -> None:
    path, profile, act = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    reference = Profile.model_validate_json(profile.read_text())
    before, begun = memory("VmRSS"), time.perf_counter()
    drifted: tuple[str, ...] = ()
    if act == "compare":
        drifted = compare_parquet(path, reference, Drift(), "1").drifted
    else:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            for batch in file.iter_batches(2**17):
                batch.to_pandas()
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "peak_mb": memory("VmHWM") - before, "drifted": drifted}))


main()
