"""Draws a report with Evidently: ``python -m ratchet.monitoring.reports.worker FOLDER``, a process of its own.

Importing Evidently takes seconds, and nobody else pays for it. What it reads and writes is in the folder
(``ratchet.monitoring.reports.job``); the parent puts it where people find it.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from evidently import DataDefinition, Dataset, MulticlassClassification, Report
from evidently.core.container import MetricOrContainer
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context, Snapshot
from evidently.legacy.renderers.html_widgets import plotly_figure  # custom metrics have no other way to draw
from evidently.metrics import RowCount, UniqueValueCount, ValueDrift
from evidently.presets import DataDriftPreset
from evidently.presets.classification import ClassificationQualityByLabel
from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric, ProjectModel
from evidently.sdk.panels import bar_plot_panel, line_plot_panel
from evidently.ui.workspace import Workspace

from ratchet.errors import one_line
from ratchet.monitoring.reports import job as report_job
from ratchet.monitoring.reports.job import PREDICTION, TARGET, Job, read_frames

_TAB = "Production"
# Names a project by its model, so that it is made once, whoever comes first.
_PROJECTS = uuid.UUID("6d2b1d5e-4e0c-5a52-9d0c-0a6f1e0c7a11")
_TITLES = {
    "f1_macro": "F1 (macro)",
    "balanced_accuracy": "Balanced accuracy",
    "precision_macro": "Precision (macro)",
    "recall_macro": "Recall (macro)",
    "roc_auc": "ROC AUC",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
}
_PANELS_OF_CLASSES = ("f1_macro", "balanced_accuracy", "precision_macro", "recall_macro")
_PANELS_OF_NUMBERS = ("mae", "rmse", "r2")


class Figure(SingleValueMetric):
    """A figure of quality as the rest of the project computes it, beside the one on the holdout.

    Evidently's own change their meaning with the number of classes that happen to be in a window, and fail on two.
    """

    figure: str


class FigureCalculation(SingleValueCalculation[Figure]):
    """Looks the figure up in the frame ``figures``."""

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> SingleValue | tuple[SingleValue, SingleValue]:
        """The figure in production, and on the holdout where it is defined there."""
        figures = context.additional_data["figures"].as_dataframe().set_index("figure")
        current, holdout = figures.loc[self.metric.figure]
        return self.result(current) if pd.isna(holdout) else (self.result(current), self.result(holdout))

    def display_name(self) -> str:
        """As in the panel."""
        return _title(self.metric.figure)


class Mistakes(SingleValueMetric):
    """How many labelled rows got a wrong class, with the confusion matrix."""


class MistakesCalculation(SingleValueCalculation[Mistakes]):
    """Counts them, and draws truth by prediction."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """The number of wrong answers."""
        rows = current_data.as_dataframe()
        found: SingleValue = self.result(int((rows[TARGET] != rows[PREDICTION]).sum()))
        found.widget = [plotly_figure(title="Labelled rows: truth by prediction", figure=_confusion(rows))]
        return found

    def display_name(self) -> str:
        """For the table of metrics."""
        return "Wrong answers"


class Bias(SingleValueMetric):
    """By how much predicted numbers are too high on the mean, with each of them beside the truth."""


class BiasCalculation(SingleValueCalculation[Bias]):
    """Subtracts, and draws prediction over truth."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Prediction minus truth, on the mean, in the target's unit."""
        rows = current_data.as_dataframe()
        found: SingleValue = self.result(float((rows[PREDICTION] - rows[TARGET]).mean()))
        found.widget = [plotly_figure(title="Labelled rows: prediction over truth", figure=_scatter(rows))]
        return found

    def display_name(self) -> str:
        """For the table of metrics."""
        return "Mean error"


def draw(folder: Path) -> None:
    """Draw the report of a folder: HTML, JSON, and a workspace with one snapshot of one project."""
    job = Job.model_validate_json((folder / report_job.JOB).read_text())
    parts = (_quality(job, folder), _drift(job, folder), _answers(job, folder))
    snapshot = _joined(job, [part for part in parts if part is not None])
    snapshot.save_html(str(folder / report_job.HTML))
    (folder / report_job.CONTENT).write_text(snapshot.json())
    workspace = Workspace.create(str(folder / report_job.WORKSPACE))
    project = workspace.add_project(
        ProjectModel(
            id=uuid.uuid5(_PROJECTS, job.model),
            name=job.model,
            description="The version in Production: quality on labelled rows, drift, predictions.",
        )
    )
    panels = _panels(job)
    # At once: added one by one, each would be in its tab twice.
    tab = DashboardTabModel(title=_TAB, panels=[panel.id for panel in panels])
    workspace.save_dashboard(project.id, DashboardModel(tabs=[tab], panels=panels))
    workspace.add_run(project.id, snapshot, name=f"{job.model} version {job.version}")


def _quality(job: Job, folder: Path) -> Snapshot | None:
    if not job.figures:
        return None
    figures = pd.DataFrame(
        [(name, *values) for name, values in job.figures.items()], columns=["figure", "production", "holdout"]
    )
    items: list[MetricOrContainer] = [Figure(figure=name) for name in job.figures]
    if job.classes:
        items += [Mistakes(), ClassificationQualityByLabel(), UniqueValueCount(column=TARGET)]
        definition = DataDefinition(
            categorical_columns=[TARGET, PREDICTION],
            classification=[MulticlassClassification(target=TARGET, prediction_labels=PREDICTION)],
        )
    else:
        items.append(Bias())
        definition = DataDefinition(numerical_columns=[TARGET, PREDICTION])
    # No reference: with one, a class that it lacks is a KeyError in Evidently.
    return Report(items, include_tests=False).run(
        Dataset.from_pandas(pd.read_parquet(folder / report_job.LABELLED), definition),
        timestamp=job.created_at,
        additional_data={"figures": Dataset.from_pandas(figures, DataDefinition())},
    )


def _drift(job: Job, folder: Path) -> Snapshot | None:
    columns = [*job.numbers, *job.categories]
    if not columns:
        return None
    definition = DataDefinition(numerical_columns=list(job.numbers), categorical_columns=list(job.categories))
    reference, current = read_frames(folder, report_job.FEATURES)
    preset = DataDriftPreset(
        columns=columns,
        method=job.drift.method,
        threshold=job.drift.threshold,
        drift_share=job.drift.share,
        include_tests=False,
    )
    return _run([preset], reference, current, definition, job)


def _answers(job: Job, folder: Path) -> Snapshot:
    kind = "categorical_columns" if job.classes else "numerical_columns"
    items: list[MetricOrContainer] = [
        RowCount(),
        ValueDrift(column=PREDICTION, method=job.drift.method, threshold=job.drift.threshold),
    ]
    if job.classes:
        items.append(UniqueValueCount(column=PREDICTION))
    return _run(items, *read_frames(folder, report_job.PREDICTIONS), DataDefinition(**{kind: [PREDICTION]}), job)


def _run(
    items: list[MetricOrContainer],
    reference: pd.DataFrame,
    current: pd.DataFrame,
    definition: DataDefinition,
    job: Job,
) -> Snapshot:
    data = (Dataset.from_pandas(frame, definition) for frame in (current, reference))
    return Report(items, include_tests=False).run(*data, timestamp=job.created_at)


def _joined(job: Job, parts: list[Snapshot]) -> Snapshot:
    """Several reports, each on rows of its own, as one: a point in every panel, and one page behind it."""
    models = [part.to_snapshot_model() for part in parts]
    whole = models[0].copy(
        update={
            "metadata": {"model": job.model, "version": job.version},
            "tags": [f"version {job.version}"],
            "metric_results": {key: found for model in models for key, found in model.metric_results.items()},
            "top_level_metrics": [key for model in models for key in model.top_level_metrics],
            "widgets": [widget for model in models for widget in model.widgets],
        }
    )
    return Snapshot.load_model(whole)


def _panels(job: Job) -> list[DashboardPanelPlot]:
    names = _PANELS_OF_CLASSES if job.classes else _PANELS_OF_NUMBERS
    panels = [
        line_plot_panel(_title(name), [_series("Figure", _title(name), figure=name)], size="half") for name in names
    ]
    share = _series("DriftedColumnsCount", "share of columns", value_type="share")
    panels.append(line_plot_panel("Share of drifted columns", [share], size="half"))
    drift = _series("ValueDrift", job.drift.method, column=PREDICTION)
    panels.append(line_plot_panel("Drift of the predictions", [drift], size="half"))
    panels.append(bar_plot_panel("Predictions in the window", [_series("RowCount", "predictions")], size="half"))
    if job.classes:
        for title, column in {"Predictions by class": PREDICTION, "Labelled rows by class": TARGET}.items():
            counts = _series("UniqueValueCount", "{{label}}", column=column, value_type="count")
            panels.append(bar_plot_panel(title, [counts], size="half", stacked=True))
    return panels


def _series(metric: str, legend: str, **labels: str) -> PanelMetric:
    return PanelMetric(metric=metric, legend=legend, metric_labels=labels)


def _title(figure: str) -> str:
    return _TITLES.get(figure, figure.replace("_", " ").capitalize())


def _confusion(rows: pd.DataFrame) -> go.Figure:
    classes = sorted(set(rows[TARGET]) | set(rows[PREDICTION]))
    counts = pd.crosstab(rows[TARGET], rows[PREDICTION]).reindex(index=classes, columns=classes, fill_value=0)
    heat = go.Heatmap(
        z=counts.to_numpy(), x=classes, y=classes, texttemplate="%{z}", colorscale="Reds", showscale=False
    )
    figure = go.Figure(heat)
    figure.update_xaxes(type="category", title="prediction")
    figure.update_yaxes(type="category", title="truth", autorange="reversed")
    return figure


def _scatter(rows: pd.DataFrame) -> go.Figure:
    figure = go.Figure(go.Scatter(x=rows[TARGET], y=rows[PREDICTION], mode="markers"))
    ends = [rows.min().min(), rows.max().max()]
    figure.add_scatter(x=ends, y=ends, mode="lines")
    figure.update_layout(showlegend=False, xaxis_title="truth", yaxis_title="prediction")
    return figure


if __name__ == "__main__":
    try:
        draw(Path(sys.argv[1]))
    except Exception as error:
        # The parent shows one line, whatever went wrong in here.
        sys.exit(f"{type(error).__name__}: {one_line(error)}")
