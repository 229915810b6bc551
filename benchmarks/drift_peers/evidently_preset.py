"""Evidently: ``DataDriftPreset`` with PSI pinned for all columns and Ratchet's threshold."""

from __future__ import annotations

import warnings

import pandas as pd
from side import COLUMNS, load, report

warnings.simplefilter("ignore")

from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402

DEFINITION = DataDefinition(numerical_columns=COLUMNS)
REFERENCE = Dataset.from_pandas(load("reference"), DEFINITION)
THRESHOLD = 0.2


def drifted(rows: pd.DataFrame) -> list[str]:
    preset = DataDriftPreset(method="psi", threshold=THRESHOLD)
    snapshot = Report([preset]).run(Dataset.from_pandas(rows, DEFINITION), REFERENCE)
    figures = {m["config"].get("column"): m["value"] for m in snapshot.dict()["metrics"]}
    return [name for name in COLUMNS if figures[name] >= THRESHOLD]


report(drifted)
