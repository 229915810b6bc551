"""The truth about a prediction according to its feedback, and its agreement with earlier feedback."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ratchet.data.column_reader import Candidates, JsonNumber, category_of
from ratchet.data.number_text import NumberFormat
from ratchet.errors import InputError, Problem
from ratchet.nearest_names import nearest

Label = str | int | float
Source = Literal["user", "link", "batch"]
Status = Literal["recorded", "repeated", "corrected", "completed"]

# Number of characters of a client's value that an error message quotes.
_LONGEST_QUOTE = 100


@dataclass(frozen=True)
class Feedback:
    """Feedback on one prediction, as the client sent it.

    Attributes
    ----------
    prediction_id: the prediction.
    target: the true class or number, if it was sent.
    correct: whether the prediction is right, if it was sent.
    correction: whether it may replace feedback that it contradicts.
    source: the route by which it came.
    expected_revision: the only revision that a correction may replace, 0 for none; None for any.
    """

    prediction_id: str
    target: Label | None = None
    correct: bool | None = None
    correction: bool = False
    source: Source = "user"
    expected_revision: int | None = None

    def may_replace(self, revision: int) -> bool:
        """Whether it may replace feedback that it contradicts."""
        return self.correction and self.expected_revision in (None, revision)


class StoredPrediction(NamedTuple):
    """The part of a prediction that feedback is compared with; ``labels`` is None for a regression."""

    model: str
    version: str
    prediction: Label
    labels: tuple[Label, ...] | None


class GroundTruth(NamedTuple):
    """The truth about a prediction, according to feedback.

    Attributes
    ----------
    target: the true class or number; None if it is only known that the prediction is wrong.
    correct: whether the prediction is right; None for a regression, unless the client sent it.
    """

    target: Label | None
    correct: bool | None


def labels_of(
    prediction: Label, probabilities: dict[str, float] | None, served: Sequence[Label] | None
) -> tuple[Label, ...] | None:
    """Return the possible classes of a prediction; None for a regression.

    Parameters
    ----------
    prediction, probabilities: the stored values.
    served: the classes of the version that is served now, for a prediction without probabilities.
    """
    if isinstance(prediction, float):
        return None
    if probabilities is not None:
        return tuple(map(type(prediction), probabilities))
    if served is None and not isinstance(prediction, str):
        return None  # SQLite returns a whole number as an integer
    return tuple(dict.fromkeys((*(served or ()), prediction)))


def label_from_text(text: str, predicted: StoredPrediction) -> Label:
    """Return the class or number that a form's text names.

    Raises
    ------
    InputError: it is neither a class of the model nor, for a regression, a finite number.
    """
    if predicted.labels is None:
        return _number(text)
    by_name = {str(label): label for label in predicted.labels}
    return by_name[text] if text in by_name else _class(text, predicted)


def ground_truth(feedback: Feedback, predicted: StoredPrediction) -> GroundTruth:
    """Return the truth about a prediction according to feedback.

    Raises
    ------
    InputError: the target is not a possible answer of the model, or target and correct contradict each other.
    """
    target = _target(feedback, predicted)
    if target is None:
        return GroundTruth(None, correct=False)
    right = target == predicted.prediction
    if feedback.correct not in (None, right):
        got, answer = str(feedback.correct).lower(), _quote(predicted.prediction)
        message = f"got {got}, but {answer} was predicted and target is {_quote(target)}"
        raise InputError([Problem("correct", message)])
    return GroundTruth(target, feedback.correct if predicted.labels is None else right)


def status_of(prediction: Label, current: GroundTruth | None, new: GroundTruth) -> Status:
    """Compare new feedback with the current one; ``corrected`` means that they contradict each other."""
    if current is None:
        return "recorded"
    if new.target is None:
        return "corrected" if current.target == prediction else "repeated"
    if current.target is None:
        return "corrected" if new.target == prediction else "completed"
    return "repeated" if new.target == current.target else "corrected"


def _target(feedback: Feedback, predicted: StoredPrediction) -> Label | None:
    """Return the true class or number; None if it is only known that the prediction is wrong."""
    if feedback.target is not None:
        return _number(feedback.target) if predicted.labels is None else _class(feedback.target, predicted)
    if feedback.correct:
        return predicted.prediction
    others = [label for label in predicted.labels or () if label != predicted.prediction]
    return others[0] if len(others) == 1 else None


def _number(target: Label) -> float:
    try:
        number = NumberFormat().parse(target) if isinstance(target, str) else float(target)
        if number is not None and not isinstance(target, bool) and math.isfinite(number):
            return number
    except OverflowError:
        pass
    raise InputError([Problem("target", f"got {_quote(target)}, expected a finite number")])


def _class(target: Label, predicted: StoredPrediction) -> Label:
    labels = predicted.labels or ()
    if type(target) is type(predicted.prediction) and target in labels:
        return target
    by_name = {str(label): label for label in labels}
    if isinstance(target, str):
        if target in by_name:
            return by_name[target]
    else:
        number = target if isinstance(target, bool) else JsonNumber(target)
        with suppress(ValueError):
            return by_name[category_of(number, Candidates(tuple(by_name)))]
    hint = nearest(str(target)[:_LONGEST_QUOTE], map(str, labels))
    raise InputError([Problem("target", f"got {_quote(target)}, which is not a class of the model{hint[:500]}")])


def _quote(value: Label) -> str:
    return repr(value)[:_LONGEST_QUOTE]
