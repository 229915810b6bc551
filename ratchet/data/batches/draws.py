"""The holdout, and uniform samples: draws that depend on the seed and the row alone, and not on earlier draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.row_identities import mix

Draws = npt.NDArray[np.uint64]


def held_out(frame: pd.DataFrame, test_size: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which rows are in the holdout, shape (rows,).

    The position in the file, which is the index of the frame, decides: each row is drawn independently of its values,
    and keeps its part when rows are appended to the file.
    """
    positions = frame.index.to_numpy(dtype=np.int64).astype(np.uint64)
    return mix(positions, f"holdout {seed}") < np.uint64(test_size * 2.0**64)


class RowSample:
    """Rows drawn without replacement; all rows where there are no more than ``size``.

    Each row has a random priority, and the rows with the lowest are kept (bottom-k sampling: E. Cohen and H. Kaplan,
    "Summarizing data using bottom-k sketches", 2007), so the sample does not depend on how rows are divided into parts,
    and memory does not grow with the stream.
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
        drawn = mix(positions.astype(np.uint64), f"sample {self._seed}")
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
        """Return the sample in the order of the stream; the index is the position. The sampler is empty afterwards."""
        order = np.argsort(self._positions)[-min(self._size, self.n_seen) :]
        columns = {}
        for name in list(self._columns):  # one column at a time, so that memory has no second copy of all
            values = self._columns.pop(name)[order]
            columns[name] = pd.Series(values, dtype=values.dtype, copy=False)
        return pd.DataFrame(columns, copy=False).set_index(pd.Index(self._positions[order]))
