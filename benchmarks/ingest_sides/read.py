"""The floor: Arrow reads the same batches, and nothing else."""

from __future__ import annotations

import sys
import time

import pyarrow.parquet as pq
from side import report

begun = time.perf_counter()
with pq.ParquetFile(sys.argv[1], pre_buffer=False) as file:
    for _ in file.iter_batches(int(sys.argv[2])):
        pass
report(begun, [])
