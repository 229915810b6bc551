"""What a report is drawn of: the newest rows of production beside those of training, within a budget of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config.reporting import ReportingConfig
from ratchet.data.schema import Field, Schema
from ratchet.model import metrics
from ratchet.model.evaluation import score_rows
from ratchet.model.package.histogram import count_words
from ratchet.monitoring.live_quality import scores_of, truth_of
from ratchet.monitoring.production_rows import LabelledRow, PredictedRow
from ratchet.monitoring.reports import job as report_job
from ratchet.monitoring.reports.job import PREDICTION, TARGET, Job
from ratchet.monitoring.reports.notes import column_notes, label_notes
from ratchet.monitoring.reports.record_files import features_of
from ratchet.monitoring.reports.version_rows import VersionRows


@dataclass(frozen=True)
class ReportRows:
    """A report that is ready to be drawn.

    Attributes
    ----------
    job: what to draw.
    frames: of what, by file name.
    predictions, labelled: rows in the windows, before a sample was taken; labelled are those with a known truth.
    notes: what a reader has to know of the rows, a line each.
    """

    job: Job
    frames: dict[str, pd.DataFrame]
    predictions: int
    labelled: int
    notes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Put everything into the folder that the report is drawn in."""
        for name, frame in self.frames.items():
            frame.to_parquet(folder / name, index=False)
        (folder / report_job.JOB).write_text(self.job.model_dump_json())


def report_rows(
    subject: VersionRows, predicted: Sequence[PredictedRow], labelled: Sequence[LabelledRow], config: ReportingConfig
) -> ReportRows:
    """Bring rows into the form of a report.

    Parameters
    ----------
    subject: the version, its model and its rows.
    predicted: the newest rows that it answered, newest first; one at least.
    labelled: those of its rows that feedback has come for, newest first.
    config: the budget of rows, the seed, and the limits of drift.
    """
    schema, classes = subject.schema, subject.schema.labels is not None
    judged = truth_of(labelled, subject.task)
    answered, drawn = ([rows[at] for at in _chosen(len(rows), config)[::-1]] for rows in (predicted, judged))
    features = (
        schema.select(subject.train.iloc[_chosen(len(subject.train), config)]),
        features_of(answered, schema),
    )
    fields, notes = _comparable(schema.features, *features)
    frames = {
        **_pair(report_job.FEATURES, *(_drawn_as(frame, schema).rename(columns=_column) for frame in features)),
        **_pair(
            report_job.PREDICTIONS,
            pd.DataFrame({PREDICTION: _drawable(subject.model.predict(features[0]), classes=classes)}),
            pd.DataFrame({PREDICTION: _drawable([row.prediction for row in answered], classes=classes)}),
        ),
        report_job.LABELLED: pd.DataFrame(
            {
                TARGET: _drawable([row.target for row in drawn], classes=classes),
                PREDICTION: _drawable([row.prediction for row in drawn], classes=classes),
            }
        ),
    }
    job = Job(
        model=subject.version.model,
        version=subject.version.version,
        created_at=datetime.now(),  # by the clock on the wall, as Evidently's page reads it
        numbers=tuple(_column(field.name) for field in fields if field.type in ("number", "text")),
        categories=tuple(_column(field.name) for field in fields if field.type == "category"),
        drift=config.drift,
        figures=_figures(subject, judged),
        classes=classes,
    )
    known = sum(row.target is not None for row in labelled)
    said = *label_notes(labelled, judged, classes=classes), *notes
    return ReportRows(job, frames, len(predicted), known, said)


def _chosen(n_rows: int, config: ReportingConfig) -> npt.NDArray[np.int64]:
    """The positions of all rows, or of a seeded sample where there are more than the budget allows."""
    if n_rows <= config.rows:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(config.seed).choice(n_rows, config.rows, replace=False))


def _comparable(
    fields: Sequence[Field], reference: pd.DataFrame, current: pd.DataFrame
) -> tuple[list[Field], list[str]]:
    """The features that have values on both sides, and what is to be said of all of them."""
    usable, said = [], []
    for field in fields:
        fits, notes = column_notes(field, reference[field.name], current[field.name])
        said += notes
        if fits:
            usable.append(field)
    return usable, said


def _drawn_as(features: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Features as drift takes them: a text as its number of words, and no time."""
    texts = {f.name: count_words(features[f.name]) for f in schema.features if f.type == "text"}
    return features.assign(**texts)[[f.name for f in schema.features if f.type != "time"]]


def _column(feature: str) -> str:
    """A feature's name in the report, where ``prediction`` is what the model said."""
    return f"{feature} (feature)" if feature == PREDICTION else feature


def _pair(names: tuple[str, str], reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return dict(zip(names, (reference, current), strict=True))


def _drawable(values: Any, *, classes: bool) -> list[str] | list[float]:
    """Classes as text, whatever the data have: Evidently takes whole numbers for numbers."""
    return [str(value) for value in values] if classes else [float(value) for value in values]


def _figures(subject: VersionRows, judged: Sequence[LabelledRow]) -> dict[str, tuple[float, float | None]]:
    """Every metric that is defined on the labelled rows, beside what it is on the holdout."""
    scores = scores_of(judged, subject.task, subject.schema.positive, subject.schema.costs)
    if scores is None:
        return {}
    holdout = _points(score_rows(subject.model, subject.holdout, subject.schema))
    return {name: (value, holdout.get(name)) for name, value in _points(scores).items()}


def _points(scores: metrics.Scores) -> dict[str, float]:
    figures = {name: metrics.point(name, scores) for name in metrics.available(scores)}
    return {name: value for name, value in figures.items() if math.isfinite(value)}
