"""Random columns that never change: NumPy guarantees the stream of RandomState alone (NEP 19)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Draws:
    """Columns of one length from one seed; the order of the draws is part of the result."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._state = np.random.RandomState(seed)

    def uniform(self) -> Floats:
        """Draw uniformly from [0, 1)."""
        return self._state.random_sample(self._rows)

    def chance(self, probability: float | Floats) -> Flags:
        """Draw True with a probability, one for all rows or one for each."""
        return self.uniform() < probability

    def normal(self) -> Floats:
        """Draw from the standard normal distribution."""
        return self._state.standard_normal(self._rows)

    def exponential(self, mean: float | Floats) -> Floats:
        """Draw from the exponential distribution."""
        return self._state.standard_exponential(self._rows) * mean

    def poisson(self, mean: float | Floats) -> Floats:
        """Draw from the Poisson distribution."""
        return self._state.poisson(mean, self._rows).astype(np.float64)

    def category(self, names: Sequence[str], shares: npt.ArrayLike) -> npt.NDArray[Any]:
        """Draw one of some names for each row.

        Parameters
        ----------
        names: shape (names,).
        shares: weights of the names; shape (names,), or (rows, names) where rows differ.
        """
        steps = np.cumsum(np.broadcast_to(np.asarray(shares, dtype=np.float64), (self._rows, len(names))), axis=1)
        places = (self.uniform()[:, None] * steps[:, -1:] >= steps).sum(axis=1)
        chosen: npt.NDArray[Any] = np.array(names, dtype=object)[np.minimum(places, len(names) - 1)]
        return chosen
