"""The target of a file: which task it asks for, its metric, and what a constant answer scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ratchet.config import LABELLED, TaskName
from ratchet.data.column_reader import ColumnReader, rule_of
from ratchet.data.columns import classes_of
from ratchet.data.suspicion import quoted
from ratchet.data.target_column import typed_target
from ratchet.errors import DataError
from ratchet.experiments.first_config.draft import Draft

# Integers with at most this number of different values are classes.
_MOST_CLASSES = 10
# The share of the rarer class from which on the metric looks at all rows, and not at the rare ones alone.
_RARE = 0.1
# The share of the rarer of two classes below which the classes are weighted.
_UNEVEN = 0.2
_FEWEST_OF_A_CLASS = 2
# Rows that a class has at least, on average, so that a fifth of the rows has one of each.
_ROWS_OF_A_CLASS = 5


@dataclass(frozen=True)
class Goal:
    """What a model is trained for.

    Attributes
    ----------
    task: of the config.
    values: the typed target.
    metric: the primary metric.
    constant: what one answer for every row scores, and which answer that is.
    shares: of the classes, the rarest first; empty for numbers.
    """

    task: TaskName
    values: pd.Series[Any]
    metric: str
    constant: tuple[float, str]
    shares: dict[Any, float]

    @property
    def uneven(self) -> bool:
        """Whether one of the classes is so rare that it is given a weight."""
        return bool(self.shares) and min(self.shares.values()) < _UNEVEN * 2 / len(self.shares)


def inferred_task(draft: Draft, values: pd.Series[Any], *, has_series: bool) -> tuple[TaskName, str]:
    """Return the task that a target asks for, and why.

    Parameters
    ----------
    values: the target, as the source reads it.
    has_series: whether the rows have even steps of time.
    """
    declared = draft.declared.get(draft.target, {}).get("type")
    if pd.api.types.is_bool_dtype(values):
        return "classification", "the target is true or false"
    if declared != "number" and (declared == "category" or not pd.api.types.is_numeric_dtype(values)):
        return "classification", "the target is text"
    counts = values.value_counts()
    is_whole = pd.api.types.is_numeric_dtype(values) and bool((values.dropna() % 1 == 0).all())
    if is_whole and len(counts) <= _MOST_CLASSES and (len(counts) < 3 or counts.min() >= _FEWEST_OF_A_CLASS):
        return "classification", f"the target has {len(counts)} different whole numbers"
    if has_series:
        return "forecasting", "the target is a number, and the rows have even steps of time"
    return "regression", "the target is a number"


def choose_goal(draft: Draft, values: pd.Series[Any], task: TaskName) -> Goal:
    """Return the goal for a task.

    Raises
    ------
    DataError: a target is missing or does not fit the task, there is one class, or a class has one row.
    """
    target = draft.target
    missing = np.flatnonzero(values.isna())
    if len(missing):
        where = f"row {missing[0] + 1} ({len(missing)} such)"
        raise DataError(f"target {target!r}: is missing in {where}: fill it in, or remove these rows")
    typed = typed_target(values, task, ColumnReader(target, rule_of(draft.config(), target)))
    if task not in LABELLED:
        return _number_goal(target, typed, task)
    counts = typed.value_counts().sort_values(kind="stable")
    classes = classes_of(set(counts.index.tolist()), target)
    if counts.iloc[0] < _FEWEST_OF_A_CLASS and draft.sample.complete:
        number = sum(counts < _FEWEST_OF_A_CLASS)
        raise DataError(
            f"target {target!r}: the class {quoted(counts.index[0])} has one row ({number} such classes), and the"
            " training rows and the holdout need one each: add rows, or merge or remove the class; to predict a number,"
            " use --task regression"
        )
    if len(classes) * _ROWS_OF_A_CLASS > len(typed):
        raise DataError(
            f"target {target!r}: has {len(classes)} classes in {len(typed)} rows, too many to hold out a row of each"
        )
    shares = {label: float(count) / len(typed) for label, count in counts.items()}
    if task == "anomaly_detection" and len(classes) != 2:
        raise DataError(f"target {target!r}: has {len(classes)} classes, and anomaly_detection needs two")
    rarest, largest = min(shares.values()), max(shares.values())
    if len(classes) > 2:
        score = 2 * largest / (1 + largest) / len(classes)
        return Goal(task, typed, "f1_macro", (score, "the largest class"), shares)
    if rarest < _RARE or task == "anomaly_detection":
        return Goal(task, typed, "average_precision", (rarest, "one score"), shares)
    return Goal(task, typed, "roc_auc", (0.5, "one score"), shares)


def _number_goal(target: str, typed: pd.Series[Any], task: TaskName) -> Goal:
    numbers = typed.to_numpy(dtype=np.float64)
    if numbers.min() == numbers.max():
        raise DataError(f"target {target!r}: has one value, {numbers[0]:g}, in every row; there is nothing to predict")
    if task == "forecasting":
        error = float(np.abs(numbers - np.median(numbers)).mean())
        return Goal(task, typed, "mae", (error, "the median"), {})
    return Goal(task, typed, "rmse", (float(numbers.std()), "the mean"), {})
