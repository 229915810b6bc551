"""Notes on unusual rows, shown with the drift figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ratchet.model.package.histogram import ColumnCounts, Counts
from ratchet.model.package.profile import FeatureProfile

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package


def notes_on(counts: Counts, features: Sequence[FeatureProfile]) -> Iterator[str]:
    """Yield a line for each column that is absent, constant or empty, or has categories never seen in training."""
    for feature in features if counts.n_rows else ():
        column = counts.columns.get(feature.name)
        if column is None:
            yield f"{feature.name}: absent, or not of type {feature.type}; not compared"
        else:
            yield from _on_missing(feature, column, counts.n_rows)
            yield from _on_values(feature, column)


def notes_on_package(package: Package) -> Iterator[str]:
    """Yield a line with the groups that a package has no reference for, since it is older or had too few rows."""
    parts = {
        "embedded features": package.profile.embedded,
        "predictions": package.profile.predictions,
        "domain classifier": package.sample is not None,
    }
    missing = [name for name, recorded in parts.items() if not recorded]
    if missing:
        yield f"not compared, since the package is older or had too few training rows: {', '.join(missing)}"


def _on_missing(feature: FeatureProfile, column: ColumnCounts, n_rows: int) -> Iterator[str]:
    if column.missing == n_rows:
        yield f"{feature.name}: every value is missing"
    elif column.missing and not feature.missing:
        yield f"{feature.name}: {_rows(column.missing)} without a value, none in training"


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
