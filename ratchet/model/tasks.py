"""Tasks: how rows are split, which estimators fit, and what a model predicts.

The code after training (gate, service, drift, feedback, continuous training) reads these properties from the task or
the schema, and never compares names of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import LABELLED, METRICS, Costs, Split, TaskName
from ratchet.data.schema import Schema
from ratchet.data.split import split_by_time, split_rows, whole_times
from ratchet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Task:
    """A kind of prediction, by its name in configs."""

    name: TaskName

    @property
    def labelled(self) -> bool:
        """Whether a prediction is a class with a score and probabilities, and not a number."""
        return self.name in LABELLED

    def split(self, frame: pd.DataFrame, schema: Schema, config: Split, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Split rows into training rows and holdout: the newest rows if they have a time, else a seeded sample.

        Rows with a time are oldest first.

        Raises
        ------
        DataError: too few rows, or a class too rare to be in both parts.
        """
        train, holdout = self.split_places(frame, schema, config, seed)
        return train.reset_index(drop=True), holdout.reset_index(drop=True)

    def split_places(
        self, frame: pd.DataFrame, schema: Schema, config: Split, seed: int
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Split rows as ``split`` does; the index of both parts is the position in the frame."""
        frame = frame.set_axis(pd.RangeIndex(len(frame)))
        if schema.time is not None:
            return split_by_time(frame, schema.time, config.test_size)
        return split_rows(frame, schema.target, config.test_size, seed, stratify=config.stratify and self.labelled)

    def folds(
        self, rows: pd.DataFrame, schema: Schema, n_folds: int, seed: int
    ) -> Iterator[tuple[Positions, Positions]]:
        """Yield positions of training rows to fit on and to validate on; the latter are newer if rows have a time.

        There are ``n_folds`` pairs, at least 2. Rows of one time stay together.

        Raises
        ------
        DataError: too few rows, or too few of a class, for so many folds.
        """
        from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

        target = rows[schema.target]
        if schema.time is not None:
            folds, needed, found, what = TimeSeriesSplit(n_folds), n_folds + 1, len(rows), "rows"
        elif self.labelled:
            folds, needed = StratifiedKFold(n_folds, shuffle=True, random_state=seed), n_folds
            found, what = int(target.value_counts().min()), "rows of the rarest class"
        else:
            folds, needed = KFold(n_folds, shuffle=True, random_state=seed), n_folds
            found, what = len(rows), "rows"
        if found < needed:
            raise DataError(f"{n_folds} folds need {needed} {what}; there are {found}")
        for fitted, validated in folds.split(rows, target):
            yield (
                (fitted, validated) if schema.time is None else _newer(rows[schema.time].to_numpy(), fitted, validated)
            )

    def prepare(
        self, estimator: BaseEstimator, path: str, schema: Schema | None = None, threshold: str = "default"
    ) -> BaseEstimator:
        """Wrap an unfitted estimator as this task needs it; ``path`` is its dotted path, for the message.

        An outlier detector becomes a classifier for ``anomaly_detection``, and ``threshold: cost`` adds the search for
        a threshold. Without a schema, the estimator can be checked but not fitted.

        Raises
        ------
        ConfigError: the estimator is for another task, or has no probabilities, which ``threshold: cost`` needs.
        """
        from sklearn.base import is_classifier, is_regressor

        if self.name == "anomaly_detection":
            estimator = _as_classifier(estimator, path, schema)
        if not (is_classifier(estimator) if self.labelled else is_regressor(estimator)):
            raise ConfigError(f"train.estimator: expected an estimator for the task {self.name}, got {path}")
        return _with_cost_threshold(estimator, path, schema) if threshold == "cost" else estimator


def _newer(times: npt.NDArray[Any], fitted: Positions, validated: Positions) -> tuple[Positions, Positions]:
    """Move both ends of the rows to validate on, so that none of them has the time of a row outside.

    Raises
    ------
    DataError: no row is left to validate on.
    """
    cut, end = (whole_times(times, at) for at in (len(fitted), int(validated[-1]) + 1))
    if cut == end:
        raise DataError(f"a fold has only rows of the time {times[cut - 1]} to validate on: take fewer folds")
    return np.arange(cut), np.arange(cut, end)


def _as_classifier(estimator: BaseEstimator, path: str, schema: Schema | None) -> BaseEstimator:
    """Wrap an outlier detector; return any other estimator as it is."""
    from sklearn.base import is_outlier_detector

    from ratchet.model.estimators import OutlierClassifier

    if is_outlier_detector(estimator):
        if not hasattr(estimator, "score_samples"):
            raise ConfigError(f"train.estimator: {path} scores no new rows: set train.params.novelty: true")
        estimator = OutlierClassifier(estimator)
    if isinstance(estimator, OutlierClassifier) and schema is not None:
        positive = schema.positive if estimator.positive is None else estimator.positive
        labels = schema.labels if estimator.labels is None else estimator.labels
        estimator.set_params(positive=positive, labels=labels)
    return estimator


def _with_cost_threshold(estimator: BaseEstimator, path: str, schema: Schema | None) -> BaseEstimator:
    from ratchet.model.estimators import CostThresholdSearch

    if not hasattr(estimator, "predict_proba"):
        raise ConfigError(f"train.threshold: cost needs predict_proba, which {path} lacks")
    if schema is None or schema.costs is None:
        return CostThresholdSearch(estimator, Costs(false_negative=1, false_positive=1))
    return CostThresholdSearch(estimator, schema.costs, schema.positive, in_order=schema.time is not None)


TASKS: dict[TaskName, Task] = {name: Task(name) for name in METRICS}


def task_of(schema: Schema) -> Task:
    """Return the task of a model; a schema of an old package lacks it, and its labels decide."""
    return TASKS[schema.task or ("regression" if schema.labels is None else "classification")]


def block_length(schema: Schema, rows: pd.DataFrame) -> int:
    """Return how many consecutive rows a bootstrap draws together: 1, or ``dependent_block`` if rows have a time."""
    if schema.time is None:
        return 1
    return dependent_block(len(rows), rows[schema.time].nunique() if schema.group else len(rows))


def dependent_block(n_rows: int, n_times: int) -> int:
    """Return the number of rows in a bootstrap block of rows in the order of time; half of them at most.

    Neighbouring rows are alike, and drawing single rows would make every interval too narrow. A block has the rows of
    as many times as the cube root of the number of times. For the order of the length see P. Hall, J. Horowitz and
    B.-Y. Jing, "On blocking rules for the bootstrap with dependent data", 1995.

    Parameters
    ----------
    n_times: distinct times, where several series have rows of one time; else the number of rows.
    """
    times = math.ceil(math.pow(n_times, 1 / 3))
    return max(1, min(round(times * n_rows / max(1, n_times)), n_rows // 2))
