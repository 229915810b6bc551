"""What a simulation found: how good the answers were, before and after each drift, by the version that gave them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from ratchet.config import LABELLED, METRICS, TaskName
from ratchet.config.simulation import SimulationConfig
from ratchet.model import metrics
from simulation.row_pool import Label

_FIGURES: dict[TaskName, tuple[str, ...]] = {
    task: ("accuracy", "f1_macro") if task in LABELLED else ("rmse", "mae") for task in METRICS
}


class Outcome(BaseModel):
    """One row that was answered; a line of the record.

    Attributes
    ----------
    index: the row's number in the stream.
    prediction_id, version, prediction: the answer.
    truth: what would have been right.
    label: what is told the service as the truth, None for nothing.
    label_after: after which row's answer it is told.
    time: when the answer was there, in seconds since the epoch.
    latency_ms: how long its request took.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    prediction_id: str
    version: str
    prediction: Label
    truth: Label
    label: Label | None
    label_after: int | None
    time: float
    latency_ms: float


class Segment(BaseModel):
    """Rows of one phase that one version answered.

    Attributes
    ----------
    phase: what had begun by then: ``before``, or the kinds of drift.
    first, last: the first row and the last.
    version: who answered.
    rows, labels: how many, and how many of them got a label.
    figures: the metrics of the answers against the truth.
    latency_ms: the median of the requests.
    """

    phase: str
    first: int
    last: int
    version: str
    rows: int
    labels: int
    figures: dict[str, float]
    latency_ms: float


class Report(BaseModel):
    """A simulation from its first row to its last.

    Attributes
    ----------
    model: who was asked.
    rows, refused, labels, labels_refused: rows answered and refused, labels told and refused.
    refusals: why, once for each reason.
    interrupted: whether somebody ended it before its last row.
    seconds: how long it took.
    segments: in the order of the stream.
    """

    model: str
    rows: int
    refused: int
    labels: int
    labels_refused: int
    refusals: tuple[str, ...]
    interrupted: bool
    seconds: float
    segments: tuple[Segment, ...]


def figures(outcomes: Sequence[Outcome], task: TaskName) -> dict[str, float]:
    """Accuracy and macro-F1 of answers against the truth, or RMSE and MAE of a regression."""
    truth, predicted = [o.truth for o in outcomes], [o.prediction for o in outcomes]
    scores: metrics.Scores
    if task not in LABELLED:
        scores = metrics.RegressionScores(np.array(truth, dtype=float), np.array(predicted, dtype=float))
    else:
        position = {label: place for place, label in enumerate(dict.fromkeys([*truth, *predicted]))}
        scores = metrics.ClassificationScores(
            np.array([position[label] for label in truth]),
            np.array([position[label] for label in predicted]),
            None,
            len(position),
        )
    return {name: metrics.point(name, scores) for name in _FIGURES[task]}


def segments(outcomes: Sequence[Outcome], config: SimulationConfig) -> tuple[Segment, ...]:
    """The outcomes by phase and version, in the order in which each was first seen."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((phase(config, outcome.index), outcome.version), []).append(outcome)
    return tuple(_segment(name, version, rows, config.task) for (name, version), rows in groups.items())


def phase(config: SimulationConfig, index: int) -> str:
    """What has begun at a row: ``before``, or the kinds of drift with the rows at which they began."""
    begun = sorted((drift.at, drift.kind) for drift in config.drift if drift.at <= index)
    return ", ".join(f"{kind} at {at}" for at, kind in begun) or "before"


def _segment(name: str, version: str, rows: Sequence[Outcome], task: TaskName) -> Segment:
    return Segment(
        phase=name,
        first=rows[0].index,
        last=rows[-1].index,
        version=version,
        rows=len(rows),
        labels=sum(row.label is not None for row in rows),
        figures=figures(rows, task),
        latency_ms=statistics.median(row.latency_ms for row in rows),
    )
