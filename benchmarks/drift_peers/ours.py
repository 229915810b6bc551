"""Ratchet: against the profile, as it travels with a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import pandas as pd
from side import COLUMNS, load, report

from ratchet.config import Drift
from ratchet.data.schema import Field, Schema
from ratchet.model.package.profiling import profile_rows
from ratchet.monitoring.drift.report import compare

SCHEMA = Schema(features=tuple(Field(name=name, type="number", nullable=False) for name in COLUMNS), target="y")

begun = time.perf_counter()
PROFILE = profile_rows(load("reference"), SCHEMA)
PROFILED = time.perf_counter() - begun
CONFIG = Drift.model_validate({"method": sys.argv[2]})


def drifted(rows: pd.DataFrame) -> Sequence[str]:
    return compare(rows, PROFILE, CONFIG, "1").drifted


report(drifted, profile_seconds=PROFILED)
