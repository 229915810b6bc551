"""Splits into training rows and holdout, and hashes that identify rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.errors import DataError


def split_rows(
    frame: pd.DataFrame, target: str, test_size: float, seed: int, *, stratify: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split rows into a training part and a holdout, which keep the index of the frame.

    Parameters
    ----------
    test_size: share of the rows held out, in (0, 1).
    stratify: whether both parts have the classes in the same shares.

    Raises
    ------
    DataError: too few rows, or a class is too rare for both parts.
    """
    from sklearn.model_selection import train_test_split

    try:
        train, holdout = train_test_split(
            frame, test_size=test_size, random_state=seed, stratify=frame[target] if stratify else None
        )
    except ValueError as error:
        raise DataError(f"split.test_size {test_size:g} of {len(frame)} rows: {error}") from None
    return train, holdout


def split_by_time(frame: pd.DataFrame, time: str, test_size: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold out the newest rows of a frame in the order of time; rows of one time stay together, in the training part.

    Both parts keep the index of the frame.

    Raises
    ------
    DataError: a part would be empty.
    """
    cut = whole_times(frame[time].to_numpy(), len(frame) - round(len(frame) * test_size))
    if not 0 < cut < len(frame):
        raise DataError(f"split.test_size {test_size:g} of {len(frame)} rows in the order of {time!r}: a part is empty")
    return frame.iloc[:cut], frame.iloc[cut:]


def whole_times(times: npt.NDArray[Any], cut: int) -> int:
    """Return the first position from ``cut`` on that separates no rows of one time; times are in ascending order."""
    return int(np.searchsorted(times, times[cut - 1], side="right")) if 0 < cut < len(times) else cut


def row_hashes(frame: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of the content of each row, shape (rows,).

    The hash depends on the names of the columns and not on their order. Equal rows have equal hashes in every process
    and version of the data.
    """
    return np.asarray(pd.util.hash_pandas_object(frame[sorted(frame.columns)], index=False), dtype=np.uint64)
