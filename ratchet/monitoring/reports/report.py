"""Reports on the champion: drawn by Evidently in its own process, kept in its workspace and in MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Drift
from ratchet.config.reporting import ReportingConfig
from ratchet.errors import DataError, RatchetError
from ratchet.monitoring.drift.log_drift import COLUMN_TABLE, column_table
from ratchet.monitoring.drift.report import DriftReport, compare_window
from ratchet.monitoring.label_bias import check_newest_labels
from ratchet.monitoring.production_rows import PredictedRow, labelled_rows, newest_predictions
from ratchet.monitoring.reports import job as report_job
from ratchet.monitoring.reports.record_files import MOST_ROWS, write_records
from ratchet.monitoring.reports.rows import ReportRows, report_rows
from ratchet.monitoring.reports.version_rows import VersionRows, load_version_rows
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings, prepare_home
from ratchet.tracking import connect, log_metrics
from ratchet.tracking.keys import column_key
from ratchet.tracking.lineage import PREFIX
from ratchet.tracking.markdown import description, escaped, run_note

# Seconds; a report takes 5 to 15 s, one of a hundred columns and 5,000 rows up to a minute.
TIMEOUT = 300.0
ROOT = Path(__file__).resolve().parents[3]


class Report(BaseModel):
    """A drawn report.

    Attributes
    ----------
    model, version: the version that the report is about.
    predictions, labelled: rows in the windows.
    figures: metrics on the labelled rows, and on the holdout.
    verdict: the verdict of the drift check in one line; with too few rows there is none, and no drift figures.
    drift: the drift figure of each feature.
    prediction_drift: the drift figure of the predictions; None if they were not compared.
    drifted: the features that drifted.
    drift_share: their share of all features; None if nothing was compared.
    notes: unusual properties of the rows.
    records: the paths of the record files, and their numbers of rows.
    content: everything that Evidently computed, metric by metric.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    predictions: int
    labelled: int
    figures: dict[str, tuple[float, float | None]]
    verdict: str
    drift: dict[str, float]
    prediction_drift: float | None
    drifted: tuple[str, ...]
    drift_share: float | None
    notes: tuple[str, ...]
    records: str
    content: tuple[dict[str, Any], ...]


def make_report(settings: Settings, config: ReportingConfig, model: str) -> tuple[Report, str]:
    """Draw a report on the champion, add it to the workspace, and write the record files.

    Returns
    -------
    The report, and its page as HTML.

    Raises
    ------
    RegistryError: nothing is in Production, or MLflow is unreachable.
    DataError: there are no predictions yet, or the training rows are unavailable.
    RatchetError: drawing failed, or took too long.
    """
    pointer = ProductionPointer(settings, model)
    version = pointer.require_current()
    predicted = newest_predictions(pointer.store, model, version.version, config.window)
    if not predicted:
        raise DataError(f"{model} version {version.version} has no predictions yet: there is nothing to report on")
    labelled = labelled_rows(pointer.store, model, version.version, MOST_ROWS)
    subject = load_version_rows(settings, version)
    labels = check_newest_labels(pointer.store, model, None, classes=subject.schema.labels is not None)
    drift = check_drift(subject, predicted, config)
    rows = report_rows(subject, predicted, labelled[: config.window], config, drift, labels)
    with tempfile.TemporaryDirectory(dir=prepare_home(settings), prefix=".report-") as scratch:
        folder = Path(scratch)
        rows.write(folder)
        draw(folder)
        report = _read(folder, rows, drift, write_records(settings, subject, labelled))
        page = (folder / report_job.HTML).read_text()
        _publish(folder / report_job.WORKSPACE, report_job.workspace(settings))
    return report, page


def check_drift(subject: VersionRows, predicted: Sequence[PredictedRow], config: ReportingConfig) -> DriftReport:
    """Compare predicted rows with the training rows of their version, as the drift trigger does."""
    rows = pd.DataFrame.from_records([row.features for row in predicted])
    limits = Drift(method=config.drift.method, threshold=config.drift.threshold, share=config.drift.share)
    predictions = [row.prediction for row in predicted]
    return compare_window(rows, predictions, subject.package, limits, subject.version.version)


def draw(folder: Path) -> None:
    """Draw a report in another process, from the files of ``ReportRows.write`` into the same folder.

    Raises
    ------
    RatchetError: drawing failed or took too long.
    """
    command = [sys.executable, "-m", "ratchet.monitoring.reports.worker", str(folder)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "DO_NOT_TRACK": "1"}
    try:
        subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT, check=True)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise RatchetError(
            f"the report was not drawn within {TIMEOUT:g} s: lower 'rows' or 'window' in its config"
        ) from None
    except subprocess.CalledProcessError as error:
        raise RatchetError(f"the report could not be drawn: {_reason(error)}") from None


def record_report(settings: Settings, run_id: str, report: Report, page: str) -> None:
    """Log a report to its MLflow run: figures as metrics, page and content as files."""
    client = connect(settings)
    tags = {"pipeline": "reporting", "model_version": report.version}
    for key, value in tags.items():
        client.set_tag(run_id, f"{PREFIX}{key}", value)
    figures = {f"production.{name}": value for name, (value, _) in report.figures.items()}
    figures |= {f"drift.{column_key(name)}": value for name, value in report.drift.items()}
    drift = {"drift_share": report.drift_share, "prediction_drift": report.prediction_drift}
    figures |= {name: value for name, value in drift.items() if value is not None}
    figures |= {"predictions": float(report.predictions), "labelled": float(report.labelled)}
    log_metrics(client, run_id, figures)
    client.log_batch(run_id, tags=[run_note(_description(report))])
    client.log_text(run_id, page, "report.html")
    if report.drift:
        client.log_text(run_id, column_table(report.drift, report.drifted, {}), COLUMN_TABLE)
    client.log_dict(run_id, report.model_dump(mode="json"), "report.json")


def _description(report: Report) -> str:
    rows = f"{report.predictions} predictions, {report.labelled} labelled"
    figures = [
        f"| {name} | {value:.4f} | {'' if holdout is None else f'{holdout:.4f}'} |"
        for name, (value, holdout) in report.figures.items()
    ]
    return description(
        f"**Version {report.version} in Production: {rows}**. The page is the artifact `report.html`.",
        f"Drift: {escaped(report.verdict)}",
        "\n".join(("| metric | production | holdout |", "| --- | --- | --- |", *figures)) if figures else "",
    )


def _read(folder: Path, rows: ReportRows, drift: DriftReport, records: str) -> Report:
    job = rows.job
    return Report(
        model=job.model,
        version=job.version,
        predictions=rows.predictions,
        labelled=rows.labelled,
        figures=job.figures,
        verdict=drift.summary,
        drift=drift.figures,
        prediction_drift=next((column.figure for column in drift.predictions), None),
        drifted=drift.drifted,
        drift_share=drift.share if drift.has_verdict else None,
        notes=rows.notes,
        records=records,
        content=tuple(json.loads((folder / report_job.CONTENT).read_text())["metrics"]),
    )


def _reason(error: subprocess.CalledProcessError) -> str:
    if error.returncode < 0:
        return f"its process was ended by {signal.Signals(-error.returncode).name}"
    lines = str(error.stderr).strip().splitlines()
    return lines[-1] if lines else f"its process ended with status {error.returncode}"


def _publish(made: Path, target: Path) -> None:
    """Move what was drawn into the workspace; each file or folder is moved atomically."""
    target.mkdir(exist_ok=True)
    for project in made.iterdir():
        existing = target / project.name
        if not existing.exists():
            project.rename(existing)
            continue
        for snapshot in (project / "snapshots").iterdir():  # the user can have changed the panels
            snapshot.rename(existing / "snapshots" / snapshot.name)
