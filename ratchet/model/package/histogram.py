"""Count rows into the bins of a reference profile, in one pass and with constant memory.

A drift test needs only counts of the new rows, and counts add up: ``count(a) + count(b)`` equals ``count`` of both.
So a window may come in parts, from several processes or from a file larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from ratchet.model.package.profile import FeatureProfile

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Rows counted at once: they stay in a core's cache while they are compared with each cut.
_CHUNK = 2**16
# With more cuts a grid is faster than a comparison with each, and with fewer rows a sort is.
_MANY_CUTS = 64
_MANY_ROWS = 2**13
_GRID = 2**16
# Names of unseen categories that are kept for the message.
_MOST_NAMES = 5


@dataclass(frozen=True)
class ColumnCounts:
    """Counts of one column.

    Attributes
    ----------
    cells: rows of each cell, without missing values.
    missing: rows without a value.
    low, high: the smallest and the largest number; inf and -inf if there is none.
    unseen: rows by category that the profile lacks, for the first few names; all such rows are in the last cell.
    """

    cells: tuple[int, ...]
    missing: int
    low: float = np.inf
    high: float = -np.inf
    unseen: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: ColumnCounts) -> ColumnCounts:
        # The first names of the sum are among the first names of each part, so their counts are complete.
        names = sorted({*self.unseen, *other.unseen})[:_MOST_NAMES]
        return ColumnCounts(
            cells=tuple(a + b for a, b in zip(self.cells, other.cells, strict=True)),
            missing=self.missing + other.missing,
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            unseen={name: self.unseen.get(name, 0) + other.unseen.get(name, 0) for name in names},
        )


@dataclass(frozen=True)
class Counts:
    """Counts of some rows, by column; columns that the rows lack, or have in another type, are left out."""

    n_rows: int
    columns: Mapping[str, ColumnCounts]

    def __add__(self, other: Counts) -> Counts:
        both = [name for name in self.columns if name in other.columns]
        return Counts(self.n_rows + other.n_rows, {name: self.columns[name] + other.columns[name] for name in both})


def count(rows: pd.DataFrame, features: Sequence[FeatureProfile], *, points: bool = False) -> Counts:
    """Count rows into the cells of a profile.

    Parameters
    ----------
    rows: shape (rows, any columns); numbers of any numeric type, or objects with None for a missing value.
    features: the profiled columns.
    points: count numbers at and between the profile's points, for K-S, and not into its bins.
    """
    columns = {}
    for feature in features:
        if feature.name in rows.columns:
            values = rows[feature.name]
            if feature.type == "category" and (not _is_number(values) or values.isna().all()):
                columns[feature.name] = count_categories(values, feature.categories)
            elif feature.type == "text" and not _is_number(values):
                columns[feature.name] = count_numbers(count_words(values), _cuts(feature, points))
            elif feature.type == "number" and (numbers := as_numbers(values)) is not None:
                columns[feature.name] = count_numbers(_rounded(numbers, feature), _cuts(feature, points))
    return Counts(len(rows), columns)


def no_rows(features: Sequence[FeatureProfile], *, points: bool = False) -> Counts:
    """Return the counts of zero rows, to which others are added; parameters as for ``count``."""
    columns = {
        f.name: ColumnCounts((0,) * (len(_cuts(f, points)) + 1 if f.ordered else len(f.categories) + 1), 0)
        for f in features
    }
    return Counts(0, columns)


def count_numbers(values: Floats, cuts: Floats) -> ColumnCounts:
    """Count numbers into the cells between the cuts, each half-open to the right, the outer two unbounded.

    Parameters
    ----------
    values: shape (rows,); NaN is missing.
    cuts: ascending, shape (cells - 1,).
    """
    below: Integers = np.zeros(len(cuts), dtype=np.int64)
    low, high, present = np.inf, -np.inf, 0
    for start in range(0, len(values), _CHUNK):
        chunk = np.ascontiguousarray(values[start : start + _CHUNK])
        gaps = np.isnan(chunk)
        if gaps.any():
            chunk = chunk[~gaps]
        if len(chunk):
            below += _below(chunk, cuts)
            low, high, present = min(low, chunk.min()), max(high, chunk.max()), present + len(chunk)
    cells = np.diff(below, prepend=0, append=present)
    return ColumnCounts(tuple(cells.tolist()), len(values) - present, float(low), float(high))


def count_categories(values: pd.Series[Any], categories: Sequence[str]) -> ColumnCounts:
    """Count categories by their text, with one more cell for unknown ones.

    The empty text is a missing value, as for the embedder, unless it is a known category.
    """
    known = {category: i for i, category in enumerate(categories)}
    cells, unseen = [0] * (len(known) + 1), dict[str, int]()
    for value, rows in values.value_counts(sort=False).items():
        name = str(value)
        cells[known.get(name, len(known))] += int(rows)
        if name not in known:
            unseen[name] = unseen.get(name, 0) + int(rows)
    cells[-1] -= unseen.pop("", 0)
    names = sorted(unseen)[:_MOST_NAMES]
    return ColumnCounts(tuple(cells), len(values) - sum(cells), unseen={name: unseen[name] for name in names})


def count_words(values: pd.Series[Any]) -> Floats:
    """Return the number of words of each text, shape (rows,); NaN for a missing or empty one."""
    there = values.notna() & (values != "")
    words = [len(str(value).split()) for value in values]
    return np.where(there, np.array(words, dtype=np.float64), np.nan)


def point_cuts(points: Sequence[float]) -> Floats:
    """Return cuts that give each point and each range between two points a cell, shape (2 * points,)."""
    at = np.asarray(points, dtype=np.float64)
    return np.stack([at, np.nextafter(at, np.inf)], axis=1).ravel()


def as_numbers(values: pd.Series[Any]) -> Floats | None:
    """Return a column as float64 with NaN for a missing value; None if it holds anything but numbers."""
    if not _is_number(values):
        numbers = pd.to_numeric(values, errors="coerce")
        if (numbers.isna() & values.notna()).any():
            return None
        values = numbers
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_number(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(values)


def _rounded(values: Floats, feature: FeatureProfile) -> Floats:
    return np.rint(values / feature.resolution) * feature.resolution if feature.resolution else values


def _cuts(feature: FeatureProfile, points: bool) -> Floats:
    return point_cuts(feature.points) if points and feature.points else np.array(feature.edges, dtype=np.float64)


def _below(present: Floats, cuts: Floats) -> Integers:
    """Count the values below each cut."""
    if len(cuts) < _MANY_CUTS:
        return np.array([np.count_nonzero(present < cut) for cut in cuts], dtype=np.int64)
    with np.errstate(over="ignore"):
        scale = _GRID / (cuts[-1] - cuts[0])
    if len(present) < _MANY_ROWS or not 0 < scale < np.inf:
        return np.searchsorted(np.sort(present), cuts)
    return _below_on_grid(present, cuts, scale)


def _below_on_grid(present: Floats, cuts: Floats, scale: float) -> Integers:
    """Count the values below each cut by placing both on an even grid.

    A value in another grid cell than a cut needs no comparison, since placing keeps the order. The few per cent that
    share a cell with a cut are sorted.
    """

    def place(values: Floats) -> npt.NDArray[np.intp]:
        position: npt.NDArray[np.intp] = np.clip((values - cuts[0]) * scale, -1, _GRID).astype(np.intp)
        return position + 1

    with np.errstate(over="ignore"):
        positions, at = place(present), place(cuts)
    shared = np.zeros(_GRID + 2, dtype=bool)
    shared[at] = True
    rows = np.bincount(positions, minlength=_GRID + 2)
    rows[shared] = 0
    close = np.sort(present[shared[positions]])
    before: Integers = np.cumsum(rows)[at]
    return before + np.searchsorted(close, cuts)
