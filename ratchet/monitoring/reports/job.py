"""What is handed to the process that draws a report: a folder of Parquet files, and this as ``job.json``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config.reporting import ReportDrift
from ratchet.settings import Settings

# Pairs of frames: features, and what was predicted, each of the reference and of production.
FEATURES = ("reference_features.parquet", "current_features.parquet")
PREDICTIONS = ("reference_predictions.parquet", "current_predictions.parquet")
# Truth beside prediction, where rows are labelled; classes are text.
LABELLED = "labelled.parquet"
JOB, WORKSPACE, HTML, CONTENT = "job.json", "workspace", "report.html", "report.json"
PREDICTION, TARGET = "prediction", "target"


def workspace(settings: Settings) -> Path:
    """Return Evidently's workspace, the folder that reports are kept in."""
    return settings.home / "evidently"


class Job(BaseModel):
    """A report to draw.

    Attributes
    ----------
    model, version: of which model.
    created_at: the time that its points have in the panels.
    numbers, categories: the feature columns to compare, each with a value on both sides.
    drift: method and limits, for every column.
    figures: quality in production, and on the holdout where it is defined there; empty where nothing is labelled.
    classes: whether the model predicts classes, and not a number.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    created_at: datetime
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    drift: ReportDrift
    figures: dict[str, tuple[float, float | None]]
    classes: bool


def read_frames(folder: Path, names: tuple[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reference and production of a pair."""
    reference, current = (pd.read_parquet(folder / name) for name in names)
    return reference, current
