"""What a model is for: one contract that says how rows are set apart, what measures it, and how it answers.

Everything after training (gate, service, drift, feedback, continuous training) asks the task or the schema, and never
for a task by its name.
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
from ratchet.data.split import split_by_time, split_rows
from ratchet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Task:
    """One kind of question that a model answers.

    Attributes
    ----------
    name: as configs call it.
    metrics: what measures it.
    labelled: whether ``/predict`` answers with a class, its score and the probabilities, or else with a number.
    """

    name: TaskName

    @property
    def metrics(self) -> tuple[str, ...]:
        """What measures it."""
        return METRICS[self.name]

    @property
    def labelled(self) -> bool:
        """Whether the answer is one of some classes."""
        return self.name in LABELLED

    @property
    def finds_anomalies(self) -> bool:
        """Whether an outlier detector, which needs no labels, can answer."""
        return self.name == "anomaly_detection"

    def split(self, frame: pd.DataFrame, schema: Schema, config: Split, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Set the holdout apart: the newest rows where time orders them, else a seeded sample.

        Parameters
        ----------
        frame: typed rows, features and target; oldest first where they have a time.
        schema: which column is what.
        config: the ``split`` section.
        seed: of the sample.

        Returns
        -------
        The training rows and the holdout, each with a fresh index.

        Raises
        ------
        DataError: too few rows, or a class too rare to be in both parts.
        """
        if schema.time is not None:
            return split_by_time(frame, schema.time, config.test_size)
        stratify = config.stratify and self.labelled
        return split_rows(frame, schema.target, config.test_size, seed, stratify=stratify)

    def folds(
        self, rows: pd.DataFrame, schema: Schema, n_folds: int, seed: int
    ) -> Iterator[tuple[Positions, Positions]]:
        """Parts of the training rows to fit on and to validate on; what validates is newer, where time orders rows.

        Parameters
        ----------
        rows: training rows, features and target.
        schema: which column is what.
        n_folds: how many pairs, 2 at least.
        seed: of the shuffle.

        Yields
        ------
        Positions of the rows to fit on, and of those to validate on.

        Raises
        ------
        DataError: too few rows, or too few of a class, for so many folds.
        """
        from sklearn.model_selection import KFold, StratifiedKFold, TimeSeriesSplit

        if schema.time is not None:
            folds: Any = TimeSeriesSplit(n_folds)
        else:
            folds = (StratifiedKFold if self.labelled else KFold)(n_folds, shuffle=True, random_state=seed)
        rarest = rows[schema.target].value_counts().min() if self.labelled and schema.time is None else len(rows)
        needed = n_folds if schema.time is None else n_folds + 1
        if rarest < needed:
            what = "rows of the rarest class" if self.labelled and schema.time is None else "rows"
            raise DataError(f"{n_folds} folds need {needed} {what}; there are {rarest}")
        yield from folds.split(rows, rows[schema.target])

    def fitting(
        self, estimator: BaseEstimator, path: str, schema: Schema | None = None, threshold: str = "default"
    ) -> BaseEstimator:
        """The estimator as this task takes it.

        An outlier detector answers as a classifier where anomalies are asked for, and a classifier that is to answer
        at least cost gets a threshold of its own.

        Parameters
        ----------
        estimator: unfitted.
        path: its dotted path, for the message.
        schema: which labels there are, which of them is positive, what mistakes cost, and whether rows have a time;
            without it, an estimator is only checked.
        threshold: ``default``, or ``cost``.

        Raises
        ------
        ConfigError: it answers another kind of question, or gives no probabilities where they are needed.
        """
        from sklearn.base import is_classifier, is_regressor

        if self.finds_anomalies:
            estimator = _as_classifier(estimator, path, schema)
        if not (is_classifier(estimator) if self.labelled else is_regressor(estimator)):
            raise ConfigError(
                f"train.estimator: {path} is no {self.name} estimator, and the config's task is {self.name}"
            )
        return _at_least_cost(estimator, path, schema) if threshold == "cost" else estimator


def _as_classifier(estimator: BaseEstimator, path: str, schema: Schema | None) -> BaseEstimator:
    """An outlier detector as one of two classes; any other estimator as it is."""
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


def _at_least_cost(estimator: BaseEstimator, path: str, schema: Schema | None) -> BaseEstimator:
    """A classifier whose threshold is chosen by what mistakes cost."""
    from ratchet.model.estimators import CostThresholdSearch

    if not hasattr(estimator, "predict_proba"):
        raise ConfigError(f"train.threshold: cost needs predict_proba, which {path} lacks")
    if schema is None or schema.costs is None:
        return CostThresholdSearch(estimator, Costs(false_negative=1, false_positive=1))
    return CostThresholdSearch(estimator, schema.costs, schema.positive, in_order=schema.time is not None)


TASKS: dict[TaskName, Task] = {name: Task(name) for name in METRICS}


def task_of(schema: Schema) -> Task:
    """The task of a model; of one that was made before schemas said so, what its labels tell."""
    return TASKS[schema.task or ("regression" if schema.labels is None else "classification")]


def block_length(schema: Schema, n_rows: int) -> int:
    """How many rows in a row a bootstrap draws together: 1, or the cube root of the rows where time orders them.

    Rows that follow each other are alike, and drawing them one by one would make every interval too narrow. The order
    of the length is that of P. Hall, J. Horowitz and B.-Y. Jing, "On blocking rules for the bootstrap with dependent
    data", 1995.
    """
    return 1 if schema.time is None else dependent_block(n_rows)


def dependent_block(n_rows: int) -> int:
    """``block_length`` of rows that time orders."""
    return max(1, math.ceil(math.pow(n_rows, 1 / 3)))
