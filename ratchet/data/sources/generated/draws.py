"""Random numbers that stay the same: NumPy promises the stream of RandomState for ever (NEP 19), no other's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class Draws:
    """Columns of one length, drawn one after the other from one seed.

    Parameters
    ----------
    rows: how long each column is.
    seed: of the stream; the order of the draws is part of the result.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self._rows = rows
        self._state = np.random.RandomState(seed)

    def uniform(self) -> Floats:
        """In [0, 1)."""
        return self._state.random_sample(self._rows)

    def chance(self, probability: float | Floats) -> Flags:
        """True with a probability, which may differ from row to row."""
        return self.uniform() < probability

    def normal(self) -> Floats:
        """Standard normal."""
        return self._state.standard_normal(self._rows)

    def exponential(self, mean: float | Floats) -> Floats:
        """Exponential."""
        return self._state.standard_exponential(self._rows) * mean

    def poisson(self, mean: float | Floats) -> Floats:
        """Counts."""
        return self._state.poisson(mean, self._rows).astype(np.float64)

    def category(self, names: Sequence[str], shares: npt.ArrayLike) -> npt.NDArray[Any]:
        """One of some names, shape (rows,).

        Parameters
        ----------
        names: shape (names,).
        shares: how often each, up to a factor; shape (names,), or (rows, names) where they differ from row to row.
        """
        steps = np.cumsum(np.broadcast_to(np.asarray(shares, dtype=np.float64), (self._rows, len(names))), axis=1)
        places = (self.uniform()[:, None] * steps[:, -1:] >= steps).sum(axis=1)
        chosen: npt.NDArray[Any] = np.array(names, dtype=object)[np.minimum(places, len(names) - 1)]
        return chosen
