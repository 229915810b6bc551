"""A uniform sample of a stream of rows, in memory that does not grow with the stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.batches.draws import Draws, priorities


class RowSample:
    """Rows drawn without replacement; all rows where there are no more than ``size``.

    Each row has a random priority, and the rows with the lowest are kept (bottom-k sampling: E. Cohen and H. Kaplan,
    "Summarizing data using bottom-k sketches", 2007), so the sample does not depend on how rows are divided into parts.

    Parameters
    ----------
    size: the number of rows to keep.
    seed: of the priorities.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        # Free places have the highest priority, so they are replaced first.
        self._drawn: Draws = np.full(size, 2**64 - 1, dtype=np.uint64)
        self._positions: npt.NDArray[np.int64] = np.full(size, -1, dtype=np.int64)
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self.n_seen = 0

    def add(self, rows: pd.DataFrame) -> None:
        """Add rows; the index is their position in the stream."""
        self.n_seen += len(rows)
        positions = rows.index.to_numpy(dtype=np.int64)
        drawn = priorities(positions, self._seed)
        chosen = np.zeros(self._size + len(rows), dtype=bool)
        chosen[np.argpartition(np.concatenate([self._drawn, drawn]), self._size - 1)[: self._size]] = True
        places, added = np.flatnonzero(~chosen[: self._size]), np.flatnonzero(chosen[self._size :])
        for name in rows.columns:
            values = rows[name].to_numpy()
            if name not in self._columns:  # memory is used as it is filled
                self._columns[name] = np.empty(self._size, dtype=values.dtype)
            self._columns[name][places] = values[added]
        self._positions[places], self._drawn[places] = positions[added], drawn[added]

    def take(self) -> pd.DataFrame:
        """Return the sample in the order of the stream, with a fresh index; the sampler is empty afterwards."""
        order = np.argsort(self._positions)[-min(self._size, self.n_seen) :]
        columns = {}
        for name in list(self._columns):  # one column at a time, so that memory has no second copy of all
            values = self._columns.pop(name)[order]
            columns[name] = pd.Series(values, dtype=values.dtype, copy=False)
        return pd.DataFrame(columns, copy=False)
