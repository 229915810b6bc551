"""The score of a config on one fold of the training rows: a pure function, which runs in any process."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from ratchet.config import Train, TrainingConfig
from ratchet.data.schema import Schema
from ratchet.errors import DataError, RatchetError, TrainingError, one_line
from ratchet.model import metrics
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.evaluation import score_rows
from ratchet.model.tasks import TASKS
from ratchet.model.training import build_estimator, fit_model

Positions = npt.NDArray[np.intp]
# Errors that mean that these values cannot be fitted on these rows; any other error is a bug and ends the study.
_REFUSALS = (RatchetError, ValueError, ArithmeticError, MemoryError)


@dataclass(frozen=True)
class FoldedRows:
    """The training rows and their folds; each worker gets them once.

    Attributes
    ----------
    rows: features and target, shape (rows, features + 1), without the holdout.
    folds: for each fold, the positions of the rows to fit on and of those to validate on.
    """

    rows: pd.DataFrame
    schema: Schema
    folds: tuple[tuple[Positions, Positions], ...]


class FoldFailure(NamedTuple):
    """The reason why a config has no score on a fold."""

    reason: str


Score = Callable[[FoldedRows, TrainingConfig, int], float]
FoldResult = float | FoldFailure


def fold_rows(config: TrainingConfig, rows: pd.DataFrame, schema: Schema, n_folds: int) -> FoldedRows:
    """Divide the training rows into folds as the config's task requires.

    Raises
    ------
    DataError: too few rows, or too few of a class, for this number of folds.
    """
    return FoldedRows(rows, schema, tuple(TASKS[config.task].folds(rows, schema, n_folds, config.seed)))


def score_fold(data: FoldedRows, config: TrainingConfig, fold: int) -> float:
    """Fit embedder and estimator on one part of a fold, and return the primary metric on the other part.

    It uses one thread, since the last digits of sums depend on the number of threads.

    Raises
    ------
    ConfigError, TrainingError: the estimator or the embedder refuses the config's values.
    DataError: the metric is not defined on these rows.
    """
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
        raise TrainingError(f"{config.train.estimator} has no output from which {name} can be computed")
    value = metrics.point(name, scores)
    if not math.isfinite(value):
        raise DataError(f"{name} is {value} on fold {fold + 1}, which has {len(scores)} rows: take fewer folds")
    return value


def try_fold(score: Score, data: FoldedRows, config: TrainingConfig, fold: int) -> FoldResult:
    """Score a fold; return the reason where the config cannot be fitted on it, and log no warnings of the fit."""
    log = logging.getLogger("ratchet.model.training")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return score(data, config, fold)
    except _REFUSALS as error:
        return FoldFailure(one_line(error))
    finally:
        log.setLevel(level)


def _to_score(config: TrainingConfig) -> Train:
    """Return the section to fit: without a search for the threshold where the metric does not depend on it."""
    depends = config.evaluate.primary_metric not in metrics.NEEDS_PROBABILITIES
    return config.train if depends else config.train.model_copy(update={"threshold": "default"})
