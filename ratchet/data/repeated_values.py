"""Columns that determine the target, and rows that repeat others: what equal values in a data set say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

# Repeated rows are reported from this share on, where they are more than this factor of those expected by chance.
_REPEATED, _ABOVE_CHANCE = 0.01, 20
# A content sample has about this many rows.
_ROWS = 50_000
# A number determines another one where each grows with the other, over at least as many different values.
_FEWEST_STEPS = 20

Codes = npt.NDArray[np.intp]


def determines(values: pd.Series, codes: Codes, target: pd.Series, target_codes: Codes, *, labelled: bool) -> bool:
    """Whether a column determines the target in a sample of rows: a column that would not be known in production.

    A value that stands in one row has one target by chance. So each value has one target, and at least half of the rows
    (of each class, for classes) have a value that others of that target have too. For numbers to predict it is enough
    that the target never falls, or never rises, where the column grows. A column with a class for each range of its
    values, like the petals of irises, has mixed values at the borders and is not reported.

    Parameters
    ----------
    values, target: sampled rows of the column and of the target.
    codes, target_codes: the position of each row's value among the different ones.
    labelled: whether the target has classes.
    """
    n_values = int(codes.max()) + 1
    pairs = len(np.unique(codes.astype(np.int64) * (int(target_codes.max()) + 1) + target_codes))
    if n_values < 2 or not target_codes.any() or pairs != n_values:
        return False
    shared = np.bincount(codes)[codes] > 1
    if labelled:
        return all(shared[target_codes == label].mean() >= 0.5 for label in np.unique(target_codes))
    return bool(shared.mean() >= 0.5) or _is_monotone(values, target)


def _is_monotone(values: pd.Series, target: pd.Series) -> bool:
    if not (pd.api.types.is_numeric_dtype(values) and pd.api.types.is_numeric_dtype(target)):
        return False
    known = (values.notna() & target.notna()).to_numpy()
    ordered, numbers = values.to_numpy(dtype=np.float64)[known], target.to_numpy(dtype=np.float64)[known]
    steps = np.diff(numbers[np.argsort(ordered, kind="stable")])
    if min(len(np.unique(ordered)), int(np.count_nonzero(steps)) + 1) < _FEWEST_STEPS:
        return False
    return bool((steps >= 0).all() or (steps <= 0).all())


def repeated_rows(frame: pd.DataFrame, codes: dict[str, Codes]) -> int | None:
    """Return the number of rows that repeat an earlier one; None where these are few, or as many as chance gives.

    Rows of a few categories repeat by chance: the expected number of equal pairs, for independent columns, is the
    product of each column's share of equal pairs among the different rows. Of many rows those are counted in which a
    hash of one column has some value, so that equal rows are counted together.

    Parameters
    ----------
    frame: the rows, with the target.
    codes: for a sample of rows and each column, the position of the value among the different ones.
    """
    different = pd.DataFrame(codes).drop_duplicates()
    shares = [_share_of_equal_pairs(different[name].to_numpy()) for name in different]
    by_chance = float(len(frame)) ** 2 / 2 * float(np.prod(shares))
    if by_chance > len(frame):
        return None
    part = _content_sample(frame[list(codes)], codes)
    if part is None:
        return None
    count = round(int(part.duplicated().sum()) * len(frame) / max(len(part), 1))
    return count if count >= max(2, _REPEATED * len(frame), _ABOVE_CHANCE * by_chance) else None


def _content_sample(frame: pd.DataFrame, codes: dict[str, Codes]) -> pd.DataFrame | None:
    divisor = len(frame) // _ROWS
    if divisor < 2:
        return frame
    numeric = [name for name in codes if pd.api.types.is_numeric_dtype(frame[name])]
    name = max(numeric or codes, key=lambda column: int(codes[column].max()))
    if int(codes[name].max()) < 100 * divisor and int(codes[name].max()) < len(codes[name]) / 2:
        return None  # few values: the parts would be uneven
    values = frame[name]
    hashed = values.to_numpy(dtype=np.float64, na_value=np.nan) if name in numeric else values.to_numpy(dtype=object)
    hashes = pd.util.hash_array(hashed, categorize=False)
    part: pd.DataFrame = frame[hashes % np.uint64(divisor) == 0]
    return part


def _share_of_equal_pairs(codes: Codes) -> float:
    counts = np.bincount(codes).astype(np.float64)
    return float((counts * (counts - 1)).sum() / max(len(codes) * (len(codes) - 1.0), 1.0))
