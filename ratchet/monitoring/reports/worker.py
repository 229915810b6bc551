"""The process that draws a report with Evidently: ``python -m ratchet.monitoring.reports.worker FOLDER``.

Only this process imports Evidently, which takes seconds. It reads and writes the folder alone
(``ratchet.monitoring.reports.job``); its parent moves the results to the workspace.
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
from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.renderers.html_widgets import plotly_figure, text_widget  # custom metrics draw in no other way
from evidently.metrics import RowCount, UniqueValueCount, ValueDrift
from evidently.presets import DataDriftPreset
from evidently.presets.classification import ClassificationQualityByLabel
from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric, ProjectModel
from evidently.sdk.panels import bar_plot_panel, line_plot_panel
from evidently.ui.workspace import Workspace

from ratchet.errors import one_line
from ratchet.monitoring.reports import job as report_job
from ratchet.monitoring.reports.job import PREDICTION, TARGET, Job

_TAB = "Production"
# The namespace of the projects' ids, which follow from the model's name, so that a project is created once.
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
    """A quality metric as Ratchet computes it, with its value on the holdout.

    Evidently's own metrics depend on the number of classes in a window, and fail on two.
    """

    figure: str


class FigureCalculation(SingleValueCalculation[Figure]):
    """Read the metric from the frame ``figures``."""

    def calculate(
        self, context: Context, current_data: Dataset, reference_data: Dataset | None
    ) -> SingleValue | tuple[SingleValue, SingleValue]:
        """Return the value in production, and on the holdout if it is defined there."""
        figures = context.additional_data["figures"].as_dataframe().set_index("figure")
        current, holdout = figures.loc[self.metric.figure]
        return self.result(current) if pd.isna(holdout) else (self.result(current), self.result(holdout))

    def display_name(self) -> str:
        """Return the title of the panel."""
        return _title(self.metric.figure)


class Mistakes(SingleValueMetric):
    """The number of labelled rows with a wrong prediction, and the confusion matrix."""


class MistakesCalculation(SingleValueCalculation[Mistakes]):
    """Count wrong predictions, and draw the confusion matrix."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Return the number of wrong predictions."""
        rows = current_data.as_dataframe()
        found: SingleValue = self.result(int((rows[TARGET] != rows[PREDICTION]).sum()))
        found.widget = [plotly_figure(title="Labelled rows: truth by prediction", figure=_confusion(rows))]
        return found

    def display_name(self) -> str:
        """Return the title in the table of metrics."""
        return "Wrong predictions"


class TooFewRows(SingleValueMetric):
    """The number of rows in a window that is too small to tell drift."""

    reason: str


class TooFewRowsCalculation(SingleValueCalculation[TooFewRows]):
    """Count the rows, and show the reason."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Return the number of rows in production."""
        found: SingleValue = self.result(len(current_data.as_dataframe()))
        found.widget = [text_widget(title="Drift", text=self.metric.reason)]
        return found

    def display_name(self) -> str:
        """Return the title in the table of metrics."""
        return "Too few rows to tell drift"


class Bias(SingleValueMetric):
    """The mean error of predicted numbers, and predictions over targets."""


class BiasCalculation(SingleValueCalculation[Bias]):
    """Compute the mean error, and draw predictions over targets."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:
        """Return the mean of prediction minus target, in the target's unit."""
        rows = current_data.as_dataframe()
        found: SingleValue = self.result(float((rows[PREDICTION] - rows[TARGET]).mean()))
        found.widget = [plotly_figure(title="Labelled rows: prediction over truth", figure=_scatter(rows))]
        return found

    def display_name(self) -> str:
        """Return the title in the table of metrics."""
        return "Mean error"


def draw(folder: Path) -> None:
    """Draw the report of a folder: HTML, JSON, and a workspace with one snapshot of one project."""
    job = Job.model_validate_json((folder / report_job.JOB).read_text())
    _use_verdicts(job)
    parts = (_quality(job, folder), _drift(job, folder), _predictions(job, folder))
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
    # Saved at once: a panel that is added alone is in its tab twice.
    tab = DashboardTabModel(title=_TAB, panels=[panel.id for panel in panels])
    workspace.save_dashboard(project.id, DashboardModel(tabs=[tab], panels=panels))
    workspace.add_run(project.id, snapshot, name=f"{job.model} version {job.version}")


def _use_verdicts(job: Job) -> None:
    """Make Evidently show the figures and verdicts of the drift check in place of its own.

    Its PSI without a test of significance marks every second column of a hundred rows that have not drifted.
    """

    def verdict(_reference: pd.Series, current: pd.Series, _type: ColumnType, _limit: float) -> tuple[float, bool]:
        return job.verdicts[str(current.name)]

    types = [ColumnType.Numerical, ColumnType.Categorical]
    register_stattest(StatTest(job.drift.method, job.drift.method.upper(), types, job.drift.threshold), verdict)


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
    # Without reference data: a class that they lack is a KeyError in Evidently.
    return Report(items, include_tests=False).run(
        Dataset.from_pandas(pd.read_parquet(folder / report_job.LABELLED), definition),
        timestamp=job.created_at,
        additional_data={"figures": Dataset.from_pandas(figures, DataDefinition())},
    )


def _drift(job: Job, folder: Path) -> Snapshot | None:
    columns = [*job.numbers, *job.categories]
    if job.too_few_rows:
        reason = TooFewRows(reason=job.too_few_rows)
        return _run([reason], folder, report_job.FEATURES, DataDefinition(), job)
    if not columns:
        return None
    definition = DataDefinition(numerical_columns=list(job.numbers), categorical_columns=list(job.categories))
    preset = DataDriftPreset(
        columns=columns,
        method=job.drift.method,
        threshold=job.drift.threshold,
        drift_share=job.drift.share,
        include_tests=False,
    )
    return _run([preset], folder, report_job.FEATURES, definition, job)


def _predictions(job: Job, folder: Path) -> Snapshot:
    kind = "categorical_columns" if job.classes else "numerical_columns"
    items: list[MetricOrContainer] = [RowCount()]
    if PREDICTION in job.verdicts:
        items.append(ValueDrift(column=PREDICTION, method=job.drift.method, threshold=job.drift.threshold))
    if job.classes:
        items.append(UniqueValueCount(column=PREDICTION))
    return _run(items, folder, report_job.PREDICTIONS, DataDefinition(**{kind: [PREDICTION]}), job)


def _run(
    items: list[MetricOrContainer], folder: Path, names: tuple[str, str], definition: DataDefinition, job: Job
) -> Snapshot:
    reference, current = (Dataset.from_pandas(pd.read_parquet(folder / name), definition) for name in names)
    return Report(items, include_tests=False).run(current, reference, timestamp=job.created_at)


def _joined(job: Job, parts: list[Snapshot]) -> Snapshot:
    """Join reports on different rows to one, so that every panel gets a point with the same page."""
    models = [part.to_snapshot_model() for part in parts]
    joined = models[0].copy(
        update={
            "metadata": {"model": job.model, "version": job.version},
            "tags": [f"version {job.version}"],
            "metric_results": {key: found for model in models for key, found in model.metric_results.items()},
            "top_level_metrics": [key for model in models for key in model.top_level_metrics],
            "widgets": [widget for model in models for widget in model.widgets],
        }
    )
    return Snapshot.load_model(joined)


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
        # The parent shows one line for any error.
        sys.exit(f"{type(error).__name__}: {one_line(error)}")
