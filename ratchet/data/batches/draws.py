"""Random draws that depend on the seed and the row alone, and not on earlier draws."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.data.split import row_hashes

Draws = npt.NDArray[np.uint64]


def held_out(frame: pd.DataFrame, test_size: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which rows are in the holdout, shape (rows,).

    The content of a row, features and target, decides: equal rows are in the same part, and a row keeps its part when
    the file changes.
    """
    return _mixed(row_hashes(frame), _salt("holdout", seed)) < np.uint64(test_size * 2.0**64)


def priorities(positions: npt.NDArray[np.int64], seed: int) -> Draws:
    """Return a random number for each row; the rows with the lowest numbers are a sample without replacement."""
    return _mixed(positions.astype(np.uint64), _salt("sample", seed))


def _salt(purpose: str, seed: int) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:8], "little"))


def _mixed(values: Draws, salt: np.uint64) -> Draws:
    """Apply the finaliser of SplitMix64 (G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number
    generators", 2014), in which each input bit changes half of the output bits.
    """
    mixed = values + salt
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
