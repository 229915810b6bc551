"""One fold of one trial: a pure function of rows and config, run wherever there is a core to run it."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from ratchet.config import Train, TrainingConfig
from ratchet.data.schema import Schema
from ratchet.errors import DataError, TrainingError
from ratchet.model import metrics
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.evaluation import score_rows
from ratchet.model.tasks import TASKS
from ratchet.model.training import build_estimator, fit_model

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class FoldedRows:
    """The training rows and how they are parted; sent to each worker once.

    Attributes
    ----------
    rows: features and target, shape (rows, features + 1); no row of the holdout is among them.
    schema: which column is what.
    folds: positions of the rows to fit on, and of those to validate on.
    """

    rows: pd.DataFrame
    schema: Schema
    folds: tuple[tuple[Positions, Positions], ...]


class FoldScore(NamedTuple):
    """The primary metric on the rows of a fold that validate, and the seconds that it took."""

    value: float
    seconds: float


Score = Callable[[FoldedRows, TrainingConfig, int], FoldScore]


def fold_rows(config: TrainingConfig, rows: pd.DataFrame, schema: Schema, n_folds: int) -> FoldedRows:
    """Part the training rows as their task does.

    Raises
    ------
    DataError: too few rows, or too few of a class, for so many folds.
    """
    return FoldedRows(rows, schema, tuple(TASKS[config.task].folds(rows, schema, n_folds, config.seed)))


def score_fold(data: FoldedRows, config: TrainingConfig, fold: int) -> FoldScore:
    """Fit embedder and estimator on a fold's rows to fit on, and score them on its rows to validate on.

    One thread: with as many threads as a machine happens to have, sums differ in their last digits.

    Parameters
    ----------
    data: the training rows.
    config: of the trial.
    fold: position in ``data.folds``.

    Raises
    ------
    ConfigError, TrainingError: the estimator or the embedder refuses what the config asks of it.
    DataError: the metric is not defined on these rows.
    """
    begun = time.perf_counter()
    fitting, validating = (data.rows.iloc[positions].reset_index(drop=True) for positions in data.folds[fold])
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedder = fit_embedder(config.embed, data.schema, fitting, config.seed)
        features = embed(embedder, fitting, data.schema).to_numpy()
        estimator = build_estimator(_to_score(config), config.task, config.seed, data.schema)
        model = fit_model(estimator, embedder, features, fitting[data.schema.target].to_numpy())
        scores = score_rows(model, validating, data.schema)
    name = config.evaluate.primary_metric
    if name not in metrics.available(scores):
        raise TrainingError(f"{config.train.estimator} gives nothing that {name} could be taken of")
    value = metrics.point(name, scores)
    if not math.isfinite(value):
        raise DataError(f"{name} is {value} on fold {fold + 1}, which has {len(scores)} rows: take fewer folds")
    return FoldScore(value, time.perf_counter() - begun)


def _to_score(config: TrainingConfig) -> Train:
    """What is fitted: without the search for a threshold, where the metric is of probabilities and sees none."""
    sees_threshold = config.evaluate.primary_metric not in metrics.NEEDS_PROBABILITIES
    return config.train if sees_threshold else config.train.model_copy(update={"threshold": "default"})


@contextmanager
def quiet_fits() -> Iterator[None]:
    """Keep the estimators' own words off the log: what a trial says of convergence is its value's to say."""
    log = logging.getLogger("ratchet.model.training")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def score_quietly(score: Score, data: FoldedRows, config: TrainingConfig, fold: int) -> FoldScore:
    """One fold, without what its estimator has to say of it in the log."""
    with quiet_fits():
        return score(data, config, fold)
