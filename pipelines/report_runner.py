"""Run the reporting pipeline, and summarise the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipelines.runner import RunOptions, execute, mlflow_run_of
from ratchet.config.reporting import ReportingConfig
from ratchet.experiments.comparison.link import run_link
from ratchet.monitoring.production_rows import newest_predictions
from ratchet.monitoring.reports.record_files import export_records
from ratchet.monitoring.reports.report import Report
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import choose_model

STEPS = ("report",)
_MOST_NAMED = 5


@dataclass(frozen=True)
class ReportSummary:
    """A drawn report, and where it was logged."""

    report: Report
    method: str
    run_name: str
    zenml_run_id: str
    mlflow_run_id: str
    mlflow_url: str
    tracking_uri: str

    @property
    def fields(self) -> Iterator[tuple[str, str]]:
        """The titles and values of the summary."""
        report = self.report
        yield report.model, f"version {report.version}: {report.predictions} predictions, {report.labelled} labelled"
        for name, (value, holdout) in report.figures.items():
            yield name, f"{value:.4f}" + ("" if holdout is None else f"  (holdout {holdout:.4f})")
        yield "drift", self._drift
        if report.prediction_drift is not None:
            yield "prediction drift", f"{self.method} {report.prediction_drift:.3f}"
        for note in report.notes:
            yield "note", note
        yield "files", report.records
        yield "MLflow run", f"{self.mlflow_run_id} in {self.tracking_uri}: report.html, report.json"
        yield "ZenML run", f"{self.run_name} ({self.zenml_run_id})"
        yield "pages", "python run.py ui evidently"

    @property
    def _drift(self) -> str:
        drift, drifted = self.report.drift, self.report.drifted
        if not drifted:
            return self.report.verdict
        strongest = sorted(drifted, key=drift.__getitem__, reverse=True)[:_MOST_NAMED]
        named = ", ".join(f"{name} {drift[name]:.3f}" for name in strongest)
        more = ", …" if len(drifted) > _MOST_NAMED else ""
        return f"{self.report.verdict}; {self.method} {named}{more}"


@dataclass(frozen=True)
class NoPredictions:
    """A champion without predictions, of which no report can be drawn."""

    model: str
    version: str
    records: str

    @property
    def fields(self) -> Iterator[tuple[str, str]]:
        """The titles and values of the summary."""
        yield self.model, f"version {self.version} has no predictions yet: there is nothing to report on"
        yield "files", self.records


def run_reporting(config: ReportingConfig, settings: Settings, options: RunOptions) -> ReportSummary | NoPredictions:
    """Draw a report on the champion, if it has predictions.

    Parameters
    ----------
    config, settings, options: of the run, which takes nothing from the cache.

    Raises
    ------
    ConfigError: there are several models, and the config names none.
    RegistryError: nothing is in Production, or MLflow is unreachable.
    RatchetError: the report could not be drawn.
    """
    model = choose_model(settings, config.model)
    pointer = ProductionPointer(settings, model)
    version = pointer.require_current()
    if not newest_predictions(pointer.store, model, version.version, 1):
        return NoPredictions(model, version.version, export_records(settings, pointer.store, version))

    def start(pipeline: Any) -> Any:
        return pipeline(config, model)

    run = execute("reporting", start, model, settings, replace(options, cache=False))
    return _summary(run, config, settings)


def _summary(run: Any, config: ReportingConfig, settings: Settings) -> ReportSummary:
    step = run.steps["report"]
    return ReportSummary(
        report=Report.model_validate(step.outputs["report"][0].load()),
        method=config.drift.method,
        run_name=run.name,
        zenml_run_id=str(run.id),
        mlflow_run_id=mlflow_run_of(step),
        mlflow_url=run_link(settings, mlflow_run_of(step)),
        tracking_uri=settings.tracking_place,
    )
