"""alibi-detect: ``KSDrift``, whose verdict is significance alone."""

from __future__ import annotations

import warnings

import pandas as pd
from side import COLUMNS, load, report

warnings.simplefilter("ignore")

from alibi_detect.cd import KSDrift  # noqa: E402

DETECTOR = KSDrift(load("reference").to_numpy(), p_val=0.05)


def drifted(rows: pd.DataFrame) -> list[str]:
    flags = DETECTOR.predict(rows.to_numpy(), drift_type="feature")["data"]["is_drift"]
    return [name for name, flag in zip(COLUMNS, flags, strict=True) if flag]


report(drifted)
