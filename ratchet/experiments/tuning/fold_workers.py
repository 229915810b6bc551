"""Where folds are scored: in this process, or by workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ratchet.config import TrainingConfig
from ratchet.config.tuning import Compute
from ratchet.experiments.tuning.scoring import FoldedRows, FoldResult, Score, try_fold

Task = tuple[TrainingConfig, int]
ScoreFolds = Callable[[Sequence[Task]], list[FoldResult]]


@contextmanager
def fold_workers(compute: Compute, data: FoldedRows, score: Score) -> Iterator[ScoreFolds]:
    """Start what a config's ``compute`` names, and yield a function that scores configs on folds.

    The result is the same on all of them, since a score depends on rows, config and fold only.

    Raises
    ------
    UnavailableError: the Dask cluster cannot be reached, or has lost its scheduler or all its workers.
    """
    if compute.engine == "local":
        yield lambda tasks: [try_fold(score, data, config, fold) for config, fold in tasks]
        return
    from ratchet.experiments.tuning.dask_workers import DaskWorkers

    with DaskWorkers(compute, data, score) as workers:
        yield workers.score_folds
