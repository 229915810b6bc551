"""The floor: each column read once and added up."""

from __future__ import annotations

import pandas as pd
from side import COLUMNS, report


def nothing(rows: pd.DataFrame) -> list[str]:
    for name in COLUMNS:
        rows[name].to_numpy().sum()
    return []


report(nothing)
