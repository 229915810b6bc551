"""Times as points on the circles of day, week and year."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

# The position of a time in its cycle, in [0, 1).
_CYCLES: dict[str, Callable[[Any], Any]] = {
    "hour": lambda times: (times.hour + times.minute / 60) / 24,
    "weekday": lambda times: times.dayofweek / 7,
    "month": lambda times: (times.month - 1) / 12,
}


class CalendarFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is not typed
    """Encode each cycle as sine and cosine, so its end is close to its beginning; a missing time gives 0 and 0.

    Parameters
    ----------
    cycles: some of ``hour`` (of the day, UTC), ``weekday`` and ``month``.
    """

    def __init__(self, cycles: Sequence[str] = ("hour", "weekday", "month")) -> None:
        self.cycles = cycles

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803 - scikit-learn's names
        """Learn the names of the columns."""
        self.feature_names_in_ = np.asarray(pd.DataFrame(X).columns, dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return times in ISO 8601 of shape (rows, columns) as shape (rows, columns × cycles × 2), in [-1, 1]."""
        encoded = []
        frame = pd.DataFrame(X)
        for name in frame.columns:
            times = pd.DatetimeIndex(pd.to_datetime(frame[name], format="ISO8601", utc=True, errors="coerce"))
            for cycle in self.cycles:
                angle = 2 * np.pi * np.asarray(_CYCLES[cycle](times), dtype=np.float64)
                encoded += [np.sin(angle), np.cos(angle)]
        return np.asarray(np.nan_to_num(np.column_stack(encoded)))
