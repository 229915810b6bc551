"""The input of the process that draws a report: a folder of Parquet files, and ``job.json``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ratchet.config.reporting import ReportDrift
from ratchet.settings import Settings

# Pairs of frames, reference and production: features, and predictions.
FEATURES = ("reference_features.parquet", "current_features.parquet")
PREDICTIONS = ("reference_predictions.parquet", "current_predictions.parquet")
# Targets and predictions of labelled rows; classes are text.
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
    model, version: the version that the report is about.
    created_at: the time of its points in the panels.
    numbers, categories: the feature columns to compare, each with a value on both sides and a verdict.
    features: the names of the features by column.
    drift: the method and limits for every column.
    verdicts: the drift figure of each column and of the predictions, and whether it drifted.
    too_few_rows: why there are no verdicts; None where there are.
    figures: metrics in production, and on the holdout where they are defined; empty without labelled rows.
    classes: whether the model predicts classes, and not a number.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    created_at: datetime
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    features: dict[str, str]
    drift: ReportDrift
    verdicts: dict[str, tuple[float, bool]]
    too_few_rows: str | None
    figures: dict[str, tuple[float, float | None]]
    classes: bool
