"""Reports for people: drawn by Evidently in a process of its own, kept in its workspace and in MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ratchet.config.reporting import ReportingConfig
from ratchet.errors import DataError, RatchetError, RegistryError
from ratchet.monitoring.production_rows import labelled_rows, newest_predictions
from ratchet.monitoring.reports import job as report_job
from ratchet.monitoring.reports.job import PREDICTION
from ratchet.monitoring.reports.record_files import MOST_ROWS, RecordFiles, write_records
from ratchet.monitoring.reports.rows import ReportRows, report_rows
from ratchet.monitoring.reports.version_rows import load_version_rows
from ratchet.registry.model_version import Version
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings, prepare_home
from ratchet.tracking import connect, log_metrics
from ratchet.tracking.lineage import PREFIX

# A report takes 5 to 15 s; a hundred columns of 5,000 rows may take a minute.
TIMEOUT = 300.0
ROOT = Path(__file__).resolve().parents[3]


class Report(BaseModel):
    """A report that was drawn.

    Attributes
    ----------
    model, version: on which version.
    predictions, labelled: rows in the windows.
    figures: quality on the labelled rows, and on the holdout.
    drift: the drift figure of each column that was compared.
    prediction_drift: that of what was predicted.
    drifted: the columns at the limit or over it.
    drift_share: the share of the columns that are.
    notes: what a reader has to know of the rows.
    records: where the CSVs of record are, and how many rows are in them.
    content: all that Evidently computed, metric by metric.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    predictions: int
    labelled: int
    figures: dict[str, tuple[float, float | None]]
    drift: dict[str, float]
    prediction_drift: float
    drifted: tuple[str, ...]
    drift_share: float
    notes: tuple[str, ...]
    records: str
    content: tuple[dict[str, Any], ...]


def champion(settings: Settings, model: str) -> Version:
    """The version that a report is on.

    Raises
    ------
    RegistryError: nothing is in Production, or MLflow cannot be reached.
    """
    found = ProductionPointer(settings, model).current()
    if found is None:
        raise RegistryError(f"{model}: nothing is in Production yet: train it, or promote a version")
    return found


def has_answered(settings: Settings, version: Version) -> bool:
    """Whether a version has answered anything that a report could be drawn of."""
    store = ProductionPointer(settings, version.model).store
    return bool(newest_predictions(store, version.model, version.version, 1))


def make_report(settings: Settings, config: ReportingConfig, model: str) -> tuple[Report, str]:
    """Draw a report on the champion, add it to the workspace, and write the CSVs of record.

    Parameters
    ----------
    settings: where everything is.
    config: windows, budget of rows, limits of drift.
    model: the registered model's name.

    Returns
    -------
    The report, and its page as HTML.

    Raises
    ------
    RegistryError: nothing is in Production, or MLflow cannot be reached.
    DataError: nothing was predicted yet, or the training rows are gone.
    RatchetError: the drawing failed, or took too long.
    """
    version = champion(settings, model)
    store = ProductionPointer(settings, model).store
    predicted = newest_predictions(store, model, version.version, config.window)
    if not predicted:
        raise DataError(f"{model} version {version.version} has answered nothing yet: there is nothing to report on")
    labelled = labelled_rows(store, model, version.version, MOST_ROWS)
    subject = load_version_rows(settings, version)
    rows = report_rows(subject, predicted, labelled[: config.window], config)
    with tempfile.TemporaryDirectory(dir=prepare_home(settings), prefix=".report-") as scratch:
        folder = Path(scratch)
        rows.write(folder)
        draw(folder)
        report = _read(folder, rows, write_records(settings, subject, labelled))
        page = (folder / report_job.HTML).read_text()
        _publish(folder / report_job.WORKSPACE, report_job.workspace(settings))
    return report, page


def draw(folder: Path, timeout: float = TIMEOUT) -> None:
    """Have a report drawn from the job in a folder, into the same folder.

    Parameters
    ----------
    folder: what ``ReportRows.write`` has filled.
    timeout: seconds after which the drawing is given up.

    Raises
    ------
    RatchetError: it failed or took too long; says why.
    """
    command = [sys.executable, "-m", "ratchet.monitoring.reports.worker", str(folder)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "DO_NOT_TRACK": "1"}
    try:
        subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=True)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise RatchetError(
            f"the report was not drawn within {timeout:g} s: lower 'rows' or 'window' in its config"
        ) from None
    except subprocess.CalledProcessError as error:
        raise RatchetError(f"the report could not be drawn: {_reason(error)}") from None


def record_report(settings: Settings, run_id: str, report: Report, page: str) -> None:
    """Log a report to its MLflow run: figures as metrics, page and content as files."""
    client = connect(settings)
    tags = {"pipeline": "reporting", "model": report.model, "version": report.version}
    for key, value in tags.items():
        client.set_tag(run_id, f"{PREFIX}{key}", value)
    figures = {f"production.{name}": value for name, (value, _) in report.figures.items()}
    figures |= {f"drift.{name}": value for name, value in report.drift.items()}
    figures |= {"drift_share": report.drift_share, "prediction_drift": report.prediction_drift}
    figures |= {"predictions": float(report.predictions), "labelled": float(report.labelled)}
    log_metrics(client, run_id, figures)
    client.log_text(run_id, page, "report.html")
    client.log_dict(run_id, report.model_dump(mode="json"), "report.json")


def _read(folder: Path, rows: ReportRows, records: RecordFiles) -> Report:
    job = rows.job
    metrics = json.loads((folder / report_job.CONTENT).read_text())["metrics"]
    drift = {found["config"]["column"]: found["value"] for found in metrics if _is_drift(found)}
    prediction_drift = drift.pop(PREDICTION)
    drifted = tuple(name for name, figure in drift.items() if figure >= job.drift.threshold)
    return Report(
        model=job.model,
        version=job.version,
        predictions=rows.predictions,
        labelled=rows.labelled,
        figures=job.figures,
        drift=drift,
        prediction_drift=prediction_drift,
        drifted=drifted,
        drift_share=len(drifted) / len(drift) if drift else 0.0,
        notes=rows.notes,
        records=records.summary,
        content=tuple(metrics),
    )


def _is_drift(metric: dict[str, Any]) -> bool:
    return bool(metric["config"]["type"].endswith(":ValueDrift"))


def _reason(error: subprocess.CalledProcessError) -> str:
    if error.returncode < 0:
        return f"its process was ended by {signal.Signals(-error.returncode).name}"
    lines = str(error.stderr).strip().splitlines()
    return lines[-1] if lines else f"its process ended with status {error.returncode}"


def _publish(made: Path, target: Path) -> None:
    """Move what was drawn into the workspace: a file or a folder appears there whole, or not at all."""
    target.mkdir(exist_ok=True)
    for project in made.iterdir():
        there = target / project.name
        if not there.exists():
            project.rename(there)
            continue
        for snapshot in (project / "snapshots").iterdir():  # the panels are the user's by now
            snapshot.rename(there / "snapshots" / snapshot.name)
