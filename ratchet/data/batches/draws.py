"""Random draws that depend on a seed and on the row, and on nothing that was drawn before."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.split import row_hashes

Draws = npt.NDArray[np.uint64]


def held_out(frame: pd.DataFrame, test_size: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows are of the holdout, shape (rows,).

    A row's content decides, not its place: equal rows are on the same side, and a row that stays in the file when the
    file changes stays on its side.

    Parameters
    ----------
    frame: typed rows, features and target.
    test_size: the share that is held out, in (0, 1).
    seed: of the draw.
    """
    return _mixed(row_hashes(frame), _salt("holdout", seed)) < np.uint64(test_size * 2.0**64)


def priorities(positions: npt.NDArray[np.int64], seed: int) -> Draws:
    """A random number for each row of the file; the rows with the lowest ones are a sample without replacement."""
    return _mixed(positions.astype(np.uint64), _salt("sample", seed))


def _salt(purpose: str, seed: int) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little"))


def _mixed(values: Draws, salt: np.uint64) -> Draws:
    """The finaliser of SplitMix64 (G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators",
    2014): every bit that goes in moves half of those that come out.
    """
    mixed = values + salt
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
