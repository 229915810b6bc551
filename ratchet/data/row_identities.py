"""Identities of rows: the place in a data version, or the id of a prediction.

Two rows with equal values are two rows. Contents identify rows only between data versions, where places differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import Dataset
from ratchet.data.split import row_hashes

Hashes = npt.NDArray[np.uint64]
# Keys of a data set that decide which row stands at a place of the frame, beside the data.
ORDER = {"time", "window", "group", "fill"}


@dataclass(frozen=True)
class RowIdentities:
    """The identities of the rows of a frame, in its order.

    Attributes
    ----------
    source: the origin of the first ``n_data`` rows, as ``data_source`` returns it; the others are of production.
    ids: one for each row; rows of other sources have other ids, shape (rows,).
    contents: hashes of the features, without the target, shape (rows,).
    """

    source: str
    ids: Hashes
    contents: Hashes
    n_data: int

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, kept: npt.NDArray[np.bool_]) -> RowIdentities:
        """Return the identities of some of the rows; ``kept`` has shape (rows,)."""
        return RowIdentities(self.source, self.ids[kept], self.contents[kept], int(kept[: self.n_data].sum()))


def data_source(dataset: Dataset, data_version: str) -> str:
    """Return the name of the frame that a data version gives: the version, and the order of rows if it is changed."""
    order = dataset.model_dump(mode="json", include=ORDER, exclude_none=True, exclude_defaults=True)
    return f"{data_version} {json.dumps(order, sort_keys=True)}" if order else data_version


def identify(rows: pd.DataFrame, target: str, source: str, positions: npt.ArrayLike) -> RowIdentities:
    """Return the identities of rows of a data set.

    Parameters
    ----------
    rows: typed, features and target.
    source: as ``data_source`` returns it.
    positions: of the rows in the frame of the data set.
    """
    places = np.asarray(positions, dtype=np.int64).astype(np.uint64)
    return RowIdentities(source, mix(places, source), contents_of(rows, target), len(rows))


def contents_of(rows: pd.DataFrame, target: str) -> Hashes:
    """Return hashes of the features, shape (rows,). A corrected label leaves the hash of its row as it was."""
    return row_hashes(rows.drop(columns=target))


def prediction_ids(ids: Sequence[str]) -> Hashes:
    """Return the identities of rows of production by the ids of their predictions."""
    return np.asarray(pd.util.hash_array(np.asarray(ids, dtype=object), categorize=False), dtype=np.uint64)


def mix(values: Hashes, salt: str) -> Hashes:
    """Apply the finaliser of SplitMix64 to salted values (G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom
    number generators", 2014), in which each input bit changes half of the output bits.
    """
    mixed = values + np.uint64(int.from_bytes(hashlib.sha256(salt.encode()).digest()[:8], "little"))
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
