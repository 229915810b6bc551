"""Ratchet: a CSV file as the steps ingest and embed take it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from side import TARGET, report

from ratchet.config import CsvDataset, Embed, Split
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.train_holdout import load_train_holdout

config = CsvDataset(source="csv", path=Path(sys.argv[1]), target=TARGET)

begun = time.perf_counter()
data = load_train_holdout(config, Split(), "classification", 42)
embedder = fit_embedder(Embed(reducer="none"), data.schema, data.train, 42)
features = embed(embedder, data.train, data.schema)
numbers = embedder["encode"].named_transformers_["number"]
report(begun, numbers["scale"].mean_.tolist())
