"""The agreement of two sets of predictions: one measure for golden predictions, ONNX exports and reproductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# A smaller difference is rounding noise, also between numbers near zero, where a relative difference is meaningless.
ABSOLUTE = 1e-15


class Outputs(NamedTuple):
    """The outputs of a model for some rows.

    Attributes
    ----------
    predictions: a label or a number for each row.
    probabilities: shape (rows, classes); None if the model has none, or if they are not compared.
    """

    predictions: Sequence[Any] | npt.NDArray[Any]
    probabilities: Any = None


class Difference(NamedTuple):
    """The difference between two sets of predictions.

    Attributes
    ----------
    gap: 0 for equal ones; infinite if a label differs or a number is not finite.
    reason: what differs, with the gap.
    """

    gap: float
    reason: str

    def within(self, limit: float) -> bool:
        """Return whether the gap is at the limit or below it."""
        return self.gap <= limit


def difference(found: Outputs, expected: Outputs) -> Difference:
    """Compare predictions with the expected ones, and probabilities where both have them.

    Labels have to be equal. The gap of numbers is relative to the expected number, or to the spread of the expected
    numbers if that is larger; the gap of probabilities is absolute.
    """
    numbers, predicted = np.asarray(expected.predictions), np.asarray(found.predictions)
    if numbers.shape != predicted.shape:
        return Difference(math.inf, f"{len(predicted)} predictions instead of {len(numbers)}")
    if numbers.dtype.kind == "f":
        gap = _gap(predicted, numbers, relative=True)
        return Difference(gap, f"predictions differ by {gap:.2g}")
    differing = int((predicted.astype(str) != numbers.astype(str)).sum())
    if differing:
        return Difference(math.inf, f"{differing} of {len(numbers)} labels differ")
    if expected.probabilities is None or found.probabilities is None:
        return Difference(0.0, "labels are equal")
    gap = _gap(found.probabilities, expected.probabilities, relative=False)
    return Difference(gap, f"probabilities differ by {gap:.2g}")


def _gap(found: Any, expected: Any, *, relative: bool) -> float:
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if found.shape != expected.shape or not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return math.inf
    distance = np.abs(found - expected)
    scale = np.maximum(np.abs(expected), np.std(expected) or 1.0) if relative else 1.0
    return float(np.max(np.where(distance <= ABSOLUTE, 0.0, distance / scale), initial=0.0))
