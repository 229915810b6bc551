"""NannyML: ``UnivariateDriftCalculator`` on one chunk, with Ratchet's threshold."""

from __future__ import annotations

import sys
import warnings

import pandas as pd
from side import COLUMNS, load, report

warnings.simplefilter("ignore")

import nannyml  # noqa: E402

METHOD = sys.argv[2]
CALCULATOR = nannyml.UnivariateDriftCalculator(
    column_names=COLUMNS,
    continuous_methods=[METHOD],
    chunk_number=1,
    thresholds={METHOD: nannyml.thresholds.ConstantThreshold(upper=0.2)},
).fit(load("reference"))


def drifted(rows: pd.DataFrame) -> list[str]:
    found = CALCULATOR.calculate(rows).filter(period="analysis").to_df()
    return [name for name in COLUMNS if bool(found[(name, METHOD, "alert")].iloc[0])]


report(drifted)
