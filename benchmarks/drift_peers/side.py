"""What every side of the comparison does: load the same rows, warm up on a few, time the comparison, say the verdict.

It is run by the interpreters of Ratchet and of the peers, and knows neither.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = [f"x{i}" for i in range(10)]
# Rows that pay for what is imported or compiled on the first call.
WARM_UP = 5000

Compare = Callable[[pd.DataFrame], Sequence[str]]


def load(name: str) -> pd.DataFrame:
    """The rows called ``reference`` or ``current`` in the folder that the first argument names."""
    return pd.DataFrame(np.load(Path(sys.argv[1]) / f"{name}.npy"), columns=COLUMNS)


def report(compare: Compare, **more: object) -> None:
    """Time a comparison of the current rows and print seconds and verdict as the last line."""
    current = load("current")
    compare(current.head(WARM_UP))
    begun = time.perf_counter()
    drifted = compare(current)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "drifted": sorted(drifted), **more}))
