"""The result of a simulation: metrics of the answers, before and after each drift, by version."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from ratchet.config import LABELLED, TaskName
from ratchet.config.simulation import SimulationConfig
from simulation.row_pool import Label


class Outcome(BaseModel):
    """An answered row; a line of the record.

    Attributes
    ----------
    index: the row's number in the stream.
    prediction_id, version, prediction: the answer.
    truth: the right answer.
    label: the label that is sent to the service; None for no label.
    label_after: the row after whose answer the label is sent.
    time: of the answer, in seconds since the epoch.
    latency_ms: the duration of its request.
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
    phase: ``before``, or the kinds of drift that have begun.
    first, last: the first and the last row.
    version: the version that answered.
    rows, labels: the number of rows, and of those with a label.
    figures: the metrics of the answers.
    latency_ms: the median duration of the requests.
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
    """The result of a simulation.

    Attributes
    ----------
    model: the served model.
    rows, refused, labels, labels_refused: the numbers of rows and labels that were accepted and refused.
    refusals: the reasons, each once.
    interrupted: whether it was ended before its last row.
    seconds: its duration.
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
    """Return accuracy and macro-F1 of the answers, or RMSE and MAE of a regression."""
    from sklearn import metrics

    truth, predicted = [outcome.truth for outcome in outcomes], [outcome.prediction for outcome in outcomes]
    if task in LABELLED:
        macro = metrics.f1_score(truth, predicted, average="macro", zero_division=0)
        return {"accuracy": float(metrics.accuracy_score(truth, predicted)), "f1_macro": float(macro)}
    rmse, mae = metrics.root_mean_squared_error(truth, predicted), metrics.mean_absolute_error(truth, predicted)
    return {"rmse": float(rmse), "mae": float(mae)}


def segments(outcomes: Sequence[Outcome], config: SimulationConfig) -> tuple[Segment, ...]:
    """Group the outcomes by phase and version, in the order of their first rows."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((phase(config, outcome.index), outcome.version), []).append(outcome)
    return tuple(_segment(name, version, rows, config.task) for (name, version), rows in groups.items())


def phase(config: SimulationConfig, index: int) -> str:
    """Return the phase of a row: ``before``, or the kinds of drift that have begun and their first rows."""
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
