"""A multivariate drift test: a classifier that separates new rows from training rows.

It finds drift that no single column shows, such as two features whose correlation is lost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.model.package.profiling import sample_rows

# Rows of each sample: enough for an AUC of 0.6 to be significant, few enough for a tenth of a second.
MOST_ROWS = 500
_TREES = 50
_ROWS_PER_LEAF = 5
# Of the drawn rows, the halves and the forests.
_SEED = 0


class Separation(NamedTuple):
    """The AUC of the classifier, 0.5 by chance and 1 if it is perfect, and its p-value."""

    auc: float
    p_value: float


def separate(sample: pd.DataFrame, rows: pd.DataFrame) -> Separation:
    """Train random forests to separate training rows from new ones, and test them on rows that they were not fitted on.

    Both samples are halved. A forest is fitted on each half and scores the other: the AUC there is a Mann–Whitney
    statistic, whose p-value is exact in level, since scores and rows are independent once the forest is fitted. The
    smaller p-value counts twice (Bonferroni). Pooled out-of-fold scores would depend on each other, and pass a level
    of 0.05 up to three times as often as they may.

    The classifier two-sample test is of Lopez-Paz & Oquab (2017), with forests of Hediger, Michel & Näf (2022);
    Rabanser, Günnemann & Lipton (2019) compare it with other tests of drift.

    Parameters
    ----------
    sample: training rows, shape (n, features); numbers as float64, categories as text.
    rows: new rows, shape (m, >= features), of the same types; at most ``MOST_ROWS`` of them are drawn and used.
    """
    from sklearn.ensemble import RandomForestClassifier

    new = rows.iloc[sample_rows(len(rows), MOST_ROWS, _SEED)]
    features = _encoded(pd.concat([sample, new[sample.columns]], ignore_index=True))
    is_new = np.repeat([False, True], [len(sample), len(new)])
    half = _halves(is_new)
    results = []
    for fitted_on in (half, ~half):
        forest = RandomForestClassifier(_TREES, min_samples_leaf=_ROWS_PER_LEAF, random_state=_SEED)
        forest.fit(features[fitted_on], is_new[fitted_on])
        results.append(_mann_whitney(forest.predict_proba(features[~fitted_on])[:, 1], is_new[~fitted_on]))
    auc = float(np.mean([result.auc for result in results]))
    return Separation(auc, min(1.0, 2 * min(result.p_value for result in results)))


def _halves(is_new: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    generator, half = np.random.default_rng(_SEED), np.zeros(len(is_new), dtype=bool)
    for side in (False, True):
        at = generator.permutation(np.flatnonzero(is_new == side))
        half[at[: len(at) // 2]] = True
    return half


def _mann_whitney(scores: npt.NDArray[np.float64], is_new: npt.NDArray[np.bool_]) -> Separation:
    """Return the AUC, and the one-sided p-value that new rows score higher (Bamber 1975: AUC = U / nm)."""
    from scipy.stats import mannwhitneyu

    high, low = scores[is_new], scores[~is_new]
    result = mannwhitneyu(high, low, alternative="greater", method="asymptotic")
    p_value = float(result.pvalue)
    return Separation(float(result.statistic) / (len(high) * len(low)), p_value if np.isfinite(p_value) else 1.0)


def _encoded(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Encode categories by the order of their names; the forest accepts missing values."""
    columns = [
        values.to_numpy(dtype=np.float64)
        if pd.api.types.is_numeric_dtype(values)
        else pd.factorize(values, sort=True)[0].astype(np.float64)
        for _, values in rows.items()
    ]
    return np.column_stack(columns)
