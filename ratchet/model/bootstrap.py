"""Bootstrap replicates of a metric, of one model or of several models on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ratchet.model import metrics
from ratchet.model.metrics import ClassificationScores, Floats, Scores

# Cells of one block of bootstrap weights, which bounds memory to 32 MB.
_CELLS = 4_000_000


def replicates(name: str, models: Sequence[Scores], n_resamples: int, seed: int, block: int = 1) -> Floats:
    """Return a metric of each model on each resample, shape (models, resamples); NaN where it is not defined.

    All models are scored on the same draws. A metric of counts depends only on how many rows have each combination of
    the true and the predicted classes. The counts of the combinations in a resample are multinomial, so they are drawn
    directly: the distribution is that of drawn rows, and the cost does not depend on the number of rows.

    Parameters
    ----------
    models: the scores of each model, on the same rows.
    block: as for ``resamples``; blocks of more than one row are drawn as rows.
    """
    classified = [scores for scores in models if isinstance(scores, ClassificationScores)]
    if name in metrics.OF_COUNTS and block == 1 and len(classified) == len(models):
        cells, counts = _combinations(classified)
        weights, models = _draws(counts / counts.sum(), int(counts.sum()), n_resamples, seed), cells
    else:
        weights = resamples(len(models[0]), n_resamples, seed, block)
    return np.concatenate([[metrics.score(name, scores, drawn) for scores in models] for drawn in weights], axis=1)


def resamples(n_rows: int, n_resamples: int, seed: int, block: int = 1) -> Iterator[Floats]:
    """Yield bootstrap weights (how often each row is drawn) in arrays of shape (some resamples, rows).

    Parameters
    ----------
    block: number of consecutive rows that are drawn together, the first row following the last (D. Politis and
        J. Romano, "A circular block-resampling procedure for stationary data", 1992); 1 draws single rows.
    """
    shares = np.full(n_rows, 1 / n_rows)
    for first_rows in _draws(shares, math.ceil(n_rows / block), n_resamples, seed):
        yield first_rows if block == 1 else _block_sums(first_rows, block)


def _block_sums(first_rows: Floats, block: int) -> Floats:
    """Return for each row how many blocks it is in, given how many start at each row; exact, since they are counts."""
    sums = np.cumsum(np.concatenate([first_rows[:, 1 - block :], first_rows], axis=1), axis=1)
    sums[:, block:] -= sums[:, :-block].copy()
    return sums[:, block - 1 :]


def interval(
    name: str, scores: Scores, confidence: float, n_resamples: int, seed: int, block: int = 1
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a metric (Efron & Tibshirani 1993, chapter 13).

    Resamples on which the metric is not defined are left out.

    Parameters
    ----------
    confidence: such as 0.95.
    n_resamples, seed, block: as for ``resamples``.
    """
    values = replicates(name, [scores], n_resamples, seed, block)[0]
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _draws(shares: Floats, n_draws: int, n_resamples: int, seed: int) -> Iterator[Floats]:
    """Yield multinomial counts of ``n_draws`` in arrays of shape (some resamples, shares)."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS // len(shares))
    for start in range(0, n_resamples, at_once):
        size = min(at_once, n_resamples - start)
        yield generator.multinomial(n_draws, shares, size=size).astype(float)


def _combinations(models: Sequence[ClassificationScores]) -> tuple[list[ClassificationScores], Floats]:
    """Return the scores of one row for each occurring combination of truth and predictions, and its number of rows."""
    classes = np.stack([models[0].truth, *(scores.predicted for scores in models)])
    size = max(scores.n_classes for scores in models)
    codes = np.ravel_multi_index(tuple(classes), (size,) * len(classes))
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    cells = [
        replace(scores, truth=scores.truth[first], predicted=scores.predicted[first], probabilities=None)
        for scores in models
    ]
    return cells, counts.astype(float)
