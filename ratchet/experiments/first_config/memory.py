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

# Copies of the typed rows in a training run: read, checked, split. Copies of the embedded ones: whole, and scaled.
_TYPED, _EMBEDDED = 3, 2
# Components of a text.
_OF_A_TEXT = 100
_BATCH_ROWS = 200_000


def choose_memory(draft: Draft, rows: pd.DataFrame, n_rows: int, goal: Goal, embed: Mapping[str, Any]) -> bool:
    """Compare the memory that training takes with that of this machine; return whether the file is read in batches.

    Raises
    ------
    DataError: it is more, and the file cannot be read in batches.
    """
    needed = n_rows * _bytes_of_a_row(draft, rows)
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


def _bytes_of_a_row(draft: Draft, rows: pd.DataFrame) -> float:
    """Return the memory that a row takes in training: 8 bytes a value, and a text's own length."""
    typed, width = 8.0, 0
    for name in draft.features:
        values = rows[name]
        is_text = draft.declared.get(name, {}).get("type") == "text"
        is_number = pd.api.types.is_numeric_dtype(values) and "type" not in draft.declared.get(name, {})
        typed += 8 + (float(values.dropna().str.len().mean()) if is_text else 0)
        width += _OF_A_TEXT if is_text else 1 if is_number else values.nunique()
    return _TYPED * typed + _EMBEDDED * 8 * width


def machine_memory() -> int:
    """Return the memory of this machine, or of the container, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
