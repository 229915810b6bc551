"""The memory that training on a file takes, and whether the file is read in batches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.errors import DataError
from ratchet.experiments.first_config.draft import Draft
from ratchet.experiments.first_config.target import Goal

# Memory of a training run in times that of its typed rows: read, checked, split and embedded.
_COPIES = 4
_BATCH_ROWS = 200_000


def choose_memory(draft: Draft, rows: pd.DataFrame, n_rows: int, goal: Goal, embed: Mapping[str, Any]) -> bool:
    """Compare the memory that training takes with that of this machine; return whether the file is read in batches.

    Raises
    ------
    DataError: it is more, and the file cannot be read in batches.
    """
    kept = rows[[*draft.features, draft.target]]
    needed = n_rows * _COPIES * float(kept.memory_usage(deep=True, index=False).sum()) / len(rows)
    memory = machine_memory()
    if draft.sample.complete or needed < memory / 2:
        return False
    amount = (
        f"training on all rows takes about {needed / 1e9:.0f} GB of memory, and this machine has {memory / 1e9:.0f} GB"
    )
    is_tabular = embed["kind"] == "tabular" and goal.task in ("classification", "regression")
    if draft.dataset["source"] == "parquet" and is_tabular and "time" not in draft.dataset:
        draft.dataset["batch_rows"] = _BATCH_ROWS
        draft.decide("dataset.batch_rows", f"batches of {_BATCH_ROWS:,} rows", amount)
        return True
    if needed >= memory:
        raise DataError(
            f"{draft.sample.path}: {amount}: write it as Parquet, which is read in batches, and run init on that file"
            " (docs/how-to/large-data.md)"
        )
    draft.warnings.append(amount)
    return False


def machine_memory() -> int:
    """Return the memory of this machine, or of the container, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
