"""What a person should know of some rows beside the drift figures: a line for each thing that is odd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ratchet.model.package.histogram import ColumnCounts, Counts
from ratchet.model.package.profile import FeatureProfile

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package


def notes_on(counts: Counts, features: Sequence[FeatureProfile]) -> Iterator[str]:
    """What is odd about counted rows: columns that are gone, constant or empty, and categories never seen.

    Parameters
    ----------
    counts: the rows; without any, there is nothing to say.
    features: the columns that they were counted by.
    """
    for feature in features if counts.n_rows else ():
        column = counts.columns.get(feature.name)
        if column is None:
            yield f"{feature.name}: is gone, or is no {feature.type} any more; left out"
        else:
            yield from _on_gaps(feature, column, counts.n_rows)
            yield from _on_values(feature, column)


def notes_on_package(package: Package) -> Iterator[str]:
    """What cannot be compared, since the package was made before it was recorded."""
    parts = {
        "embedded features": package.profile.embedded,
        "predictions": package.profile.predictions,
        "domain classifier": package.sample is not None,
    }
    missing = [name for name, there in parts.items() if not there]
    if missing:
        yield f"left out, since the package is older: {', '.join(missing)}"


def _on_gaps(feature: FeatureProfile, column: ColumnCounts, n_rows: int) -> Iterator[str]:
    if column.missing == n_rows:
        yield f"{feature.name}: every value is missing"
    elif column.missing and not feature.missing:
        yield f"{feature.name}: {_rows(column.missing)} without a value, in training there was none"


def _on_values(feature: FeatureProfile, column: ColumnCounts) -> Iterator[str]:
    if column.low == column.high:
        constant = (
            f"every text has {column.low:g} words" if feature.type == "text" else f"every value is {column.low:g}"
        )
        yield f"{feature.name}: constant, {constant}"
    if feature.type == "category" and np.count_nonzero(column.cells) == 1 and not column.cells[-1]:
        yield f"{feature.name}: constant, every value is {feature.categories[np.argmax(column.cells)]!r}"
    if column.unseen:
        names = ", ".join(repr(name) for name in column.unseen)
        more = ", …" if sum(column.unseen.values()) < column.cells[-1] else ""
        yield f"{feature.name}: {_rows(column.cells[-1])} with categories never seen ({names}{more})"


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"
