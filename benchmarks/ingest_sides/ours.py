"""Ratchet: the file in batches, as the steps ingest and embed take it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from side import TARGET, report

from ratchet.config import Embed, ParquetDataset, Split
from ratchet.data.batches import ingest
from ratchet.model.batches.training_batches import TrainingBatches
from ratchet.model.embedding import fit_embedder

config = ParquetDataset(source="parquet", path=Path(sys.argv[1]), target=TARGET, batch_rows=int(sys.argv[2]))

begun = time.perf_counter()
data = ingest(config, Split(), "classification", 42)
batches = TrainingBatches(dataset=config, task="classification", split=Split(), seed=42, data_version=data.data_version)
embedder = fit_embedder(Embed(), data.schema, batches, 42)
report(begun, embedder["encode"]["scale"].mean_.tolist())
