"""Ratchet: the file in batches, as the steps ingest and embed take it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from side import TARGET, report

from ratchet.config import Embed, ParquetDataset, Split
from ratchet.data.batches import BatchedFile, ingest
from ratchet.model.batches import fit_embedder

config = ParquetDataset(source="parquet", path=Path(sys.argv[1]), target=TARGET, batch_rows=int(sys.argv[2]))

begun = time.perf_counter()
data = ingest(config, Split(), "classification", 42)
file = BatchedFile(config, "classification", data.data_version)
embedder = fit_embedder(Embed(), data.schema, file, Split(), 42)
report(begun, embedder["encode"]["scale"].mean_.tolist())
