"""The rows of a report: the newest production rows and the training and held-out rows, within a budget of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ratchet.config import TaskName
from ratchet.config.continuous import FEWEST_LABELLED
from ratchet.config.reporting import ReportingConfig
from ratchet.data.schema import MISSING, Field, Schema
from ratchet.model.evaluation import score_rows
from ratchet.model.package.histogram import count_words
from ratchet.model.package.profiling import sample_rows
from ratchet.model.tasks import task_of
from ratchet.monitoring.drift.report import DriftReport
from ratchet.monitoring.label_bias import LabelCheck
from ratchet.monitoring.live_quality import defined_metrics, scores_of, truth_of
from ratchet.monitoring.production_rows import LabelledRow, PredictedRow
from ratchet.monitoring.reports import job as report_job
from ratchet.monitoring.reports.job import PREDICTION, TARGET, Job
from ratchet.monitoring.reports.record_files import features_of
from ratchet.monitoring.reports.version_rows import VersionRows

# The number of unknown categories that are named.
_MOST_NAMED = 3
# Characters of a column's title in the report.
_LONGEST_TITLE = 60


@dataclass(frozen=True)
class ReportRows:
    """A prepared report.

    Attributes
    ----------
    job: what to draw.
    frames: the data, by file name.
    predictions, labelled: rows in the windows before sampling; labelled rows are those with a target.
    notes: unusual properties of the rows, one line each.
    """

    job: Job
    frames: dict[str, pd.DataFrame]
    predictions: int
    labelled: int
    notes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write job and frames to the folder that the report is drawn in."""
        for name, frame in self.frames.items():
            frame.to_parquet(folder / name, index=False)
        (folder / report_job.JOB).write_text(self.job.model_dump_json())


def report_rows(
    subject: VersionRows,
    predicted: Sequence[PredictedRow],
    labelled: Sequence[LabelledRow],
    config: ReportingConfig,
    drift: DriftReport,
    labels: LabelCheck | None = None,
) -> ReportRows:
    """Prepare a report.

    Parameters
    ----------
    predicted: the newest rows that it predicted, newest first; at least one.
    labelled: its rows with feedback, newest first.
    drift: the verdict on the newest rows.
    labels: whether the chance of a label depends on the answer; None if it is not known.
    """
    schema, classes = subject.schema, subject.schema.labels is not None
    task = task_of(schema).name
    scored = truth_of(labelled, task)
    current, pairs = (
        [rows[at] for at in sample_rows(len(rows), config.rows, config.seed)[::-1]] for rows in (predicted, scored)
    )
    train, holdout = (
        schema.select(rows.iloc[sample_rows(len(rows), config.rows, config.seed)])
        for rows in (subject.train, subject.holdout)
    )
    features = train, features_of(current, schema)
    comparable, notes = _comparable(schema.features, *features)
    fields = [field for field in comparable if field.name in drift.figures]
    # Not of the training rows: a model that overfits repeats their targets, which have more spread than predictions.
    predictions = subject.model.predict(holdout), [row.prediction for row in current]
    titles = column_titles(schema.feature_names)
    frames = _frames(features, predictions, pairs, schema, titles)
    job = Job(
        model=subject.version.model,
        version=subject.version.version,
        created_at=datetime.now(),  # local time, as Evidently's page expects
        numbers=tuple(titles[field.name] for field in fields if field.type in ("number", "text")),
        categories=tuple(titles[field.name] for field in fields if field.type == "category"),
        features={title: name for name, title in titles.items()},
        drift=config.drift,
        verdicts=_verdicts(drift, titles),
        too_few_rows=None if drift.has_verdict else drift.summary,
        figures=_figures(subject, scored, task),
        classes=classes,
    )
    known = sum(row.target is not None for row in labelled)
    all_notes = (*_bias_notes(labels), *_label_notes(labelled, scored, classes=classes), *notes)
    return ReportRows(job, frames, len(predicted), known, all_notes)


def _verdicts(drift: DriftReport, titles: dict[str, str]) -> dict[str, tuple[float, bool]]:
    """Return the figure of each column of the report and of the predictions, and whether it drifted."""
    features = {titles[name]: (figure, name in drift.drifted) for name, figure in drift.figures.items()}
    return features | {column.name: (column.figure, column.drifted) for column in drift.predictions}


def _comparable(
    fields: Sequence[Field], reference: pd.DataFrame, current: pd.DataFrame
) -> tuple[list[Field], list[str]]:
    """Return the features that have values on both sides, and the notes on all features."""
    usable, notes = [], []
    for field in fields:
        fits, lines = _column_notes(field, reference[field.name], current[field.name])
        notes += lines
        if fits:
            usable.append(field)
    return usable, notes


def column_titles(features: Sequence[str]) -> dict[str, str]:
    """Return the columns of the report by feature: short, printable, different, and none that of the predictions."""
    titles: dict[str, str] = {}
    taken = {PREDICTION}
    for name in features:
        start = "".join(letter if letter.isprintable() else " " for letter in name)[:_LONGEST_TITLE]
        title, number = start, 1
        while title in taken:
            title = f"{start} (feature{f' {number}' if number > 1 else ''})"
            number += 1
        taken.add(title)
        titles[name] = title
    return titles


def _plotted(features: pd.DataFrame, schema: Schema, titles: dict[str, str]) -> pd.DataFrame:
    """Return the columns of the report: a text as its number of words, and no time."""
    texts = {f.name: count_words(features[f.name]) for f in schema.features if f.type == "text"}
    return features.assign(**texts)[[f.name for f in schema.features if f.type != "time"]].rename(columns=titles)


def _frames(
    features: tuple[pd.DataFrame, pd.DataFrame],
    predictions: tuple[Any, Any],
    pairs: Sequence[LabelledRow],
    schema: Schema,
    titles: dict[str, str],
) -> dict[str, pd.DataFrame]:
    """Return features and predictions of both sides, and labelled rows with their predictions, by file name."""
    classes = schema.labels is not None
    frames = dict(zip(report_job.FEATURES, (_plotted(frame, schema, titles) for frame in features), strict=True))
    for name, values in zip(report_job.PREDICTIONS, predictions, strict=True):
        frames[name] = pd.DataFrame({PREDICTION: _values(values, classes=classes)})
    frames[report_job.LABELLED] = pd.DataFrame(
        {
            TARGET: _values([row.target for row in pairs], classes=classes),
            PREDICTION: _values([row.prediction for row in pairs], classes=classes),
        }
    )
    return frames


def _values(values: Any, *, classes: bool) -> list[str] | list[float]:
    # Evidently takes classes that are whole numbers for numbers, unless they are text.
    return [str(value) for value in values] if classes else [float(value) for value in values]


def _figures(
    subject: VersionRows, scored: Sequence[LabelledRow], task: TaskName
) -> dict[str, tuple[float, float | None]]:
    """Return every metric that is defined on the labelled rows, with its value on the holdout."""
    scores = scores_of(scored, task, subject.schema.positive, subject.schema.costs)
    if scores is None:
        return {}
    holdout = defined_metrics(score_rows(subject.model, subject.holdout, subject.schema))
    return {name: (value, holdout.get(name)) for name, value in defined_metrics(scores).items()}


def _bias_notes(labels: LabelCheck | None) -> list[str]:
    """Return the note on biased labels, which make the quality figures wrong."""
    if labels is None or not labels.biased:
        return []
    return [f"the quality on labelled rows is not that on all rows: {labels.reason}"]


def _label_notes(labelled: Sequence[LabelledRow], scored: Sequence[LabelledRow], *, classes: bool) -> list[str]:
    """Return the notes on rows with feedback, and on those that can be scored, with a known or assumed target."""
    targets = [row.target for row in scored]
    assumed = len(targets) - sum(row.target is not None for row in labelled)
    notes = []
    if not targets:
        notes.append("no prediction has a label yet: quality is not measured")
    elif len(targets) < FEWEST_LABELLED:
        notes.append(f"quality: too few rows to tell: {len(targets)} labelled, {FEWEST_LABELLED} are needed")
    elif classes and len(set(targets)) == 1:
        notes.append(f"all {len(targets)} labelled rows are of one class, {targets[0]!r}")
    if assumed:
        notes.append(f"{assumed} rows are only marked as wrong: the most probable other class is taken as their label")
    if len(targets) < len(labelled):
        notes.append(f"{len(labelled) - len(targets)} rows are left out: their label is unknown")
    return notes


def _column_notes(field: Field, reference: pd.Series, current: pd.Series) -> tuple[bool, list[str]]:
    """Return whether a feature can be compared, by its values in training and in production, and the notes on it."""
    for where, values in {"in training": reference, "in production": current}.items():
        if not _present(values).any():
            return False, [f"column {field.name!r}: no value in {len(values)} rows {where}; it is left out"]
    notes = []
    if current.nunique(dropna=False) == 1 < reference.nunique(dropna=False):
        notes.append(f"column {field.name!r}: {_shown(current.iloc[0])} in all {len(current)} rows in production")
    if field.type == "category":
        notes += _unseen(field, current)
    return True, notes


def _unseen(field: Field, current: pd.Series) -> list[str]:
    known = {*(field.categories or ()), MISSING}
    counts = current[~current.isin(known)].value_counts()
    if counts.empty:
        return []
    named = ", ".join(f"{_shown(value)} ({count} rows)" for value, count in counts.head(_MOST_NAMED).items())
    more = f" and {len(counts) - _MOST_NAMED} more" if len(counts) > _MOST_NAMED else ""
    return [f"column {field.name!r}: never seen in training: {named}{more}"]


def _present(values: pd.Series) -> pd.Series:
    return values.notna() & (values != MISSING) if values.dtype == object else values.notna()


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
