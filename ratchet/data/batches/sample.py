"""A sample of rows that are seen once, in a memory that does not grow with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.batches.draws import Draws, priorities


class RowSample:
    """So many rows of a file, drawn without replacement; all of them where there are no more.

    Each row has a random number of its own, and the rows with the lowest are kept (bottom-k sampling: E. Cohen and
    H. Kaplan, "Summarizing data using bottom-k sketches", 2007). So the sample does not depend on how the rows come.

    Parameters
    ----------
    most: how many rows are kept.
    seed: of the draw.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed = most, seed
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._positions: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._priorities: Draws = np.empty(0, dtype=np.uint64)
        self.n_seen = 0

    def add(self, rows: pd.DataFrame) -> None:
        """Offer rows; the index is their place in the file."""
        self.n_seen += len(rows)
        positions = rows.index.to_numpy(dtype=np.int64)
        drawn = priorities(positions, self._seed)
        free = self._most - len(self._positions)
        if free:
            self._append(rows.iloc[:free], positions[:free], drawn[:free])
            rows, positions, drawn = rows.iloc[free:], positions[free:], drawn[free:]
        if len(rows):
            self._replace(rows, positions, drawn)

    def take(self) -> pd.DataFrame:
        """The sample in the order of the file, with a fresh index; the sampler is empty afterwards."""
        order = np.argsort(self._positions)
        columns = {}
        for name in list(self._columns):  # one after the other, so that no two copies of all stand at a time
            values = self._columns.pop(name)[: len(order)][order]
            columns[name] = pd.Series(values, dtype=values.dtype, copy=False)
        return pd.DataFrame(columns, copy=False)

    def _append(self, rows: pd.DataFrame, positions: npt.NDArray[np.int64], drawn: Draws) -> None:
        begun = len(self._positions)
        for name in rows.columns:
            values = rows[name].to_numpy()
            if name not in self._columns:  # memory is only taken as it is filled
                self._columns[str(name)] = np.empty(self._most, dtype=values.dtype)
            self._columns[str(name)][begun : begun + len(values)] = values
        self._positions = np.concatenate([self._positions, positions])
        self._priorities = np.concatenate([self._priorities, drawn])

    def _replace(self, rows: pd.DataFrame, positions: npt.NDArray[np.int64], drawn: Draws) -> None:
        """Give the places of those that are no longer among the lowest to those that now are."""
        chosen = np.zeros(self._most + len(drawn), dtype=bool)
        chosen[np.argpartition(np.concatenate([self._priorities, drawn]), self._most - 1)[: self._most]] = True
        places, comers = np.flatnonzero(~chosen[: self._most]), np.flatnonzero(chosen[self._most :])
        for name, kept in self._columns.items():
            kept[places] = rows[name].to_numpy()[comers]
        self._positions[places], self._priorities[places] = positions[comers], drawn[comers]
