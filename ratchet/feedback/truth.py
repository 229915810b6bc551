"""What people say of a prediction: what it means, and whether it agrees with what stands already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ratchet.errors import InputError, Problem, nearest

Label = str | int | float
Source = Literal["user", "link", "batch"]
Status = Literal["recorded", "repeated", "corrected", "completed"]

# Of what a client sent, so much is said back.
_LONGEST_QUOTE = 100


@dataclass(frozen=True)
class Feedback:
    """What somebody says of a prediction, as it was sent.

    Attributes
    ----------
    prediction_id: which prediction.
    target: what would have been right, if that was said.
    correct: whether the prediction is right, if that was said.
    correction: whether it may take the place of an answer that it contradicts.
    source: which way it came.
    seen: the revision of the only answer whose place a correction may take, 0 for none; None for whichever stands.
    """

    prediction_id: str
    target: Label | None = None
    correct: bool | None = None
    correction: bool = False
    source: Source = "user"
    seen: int | None = None

    def may_replace(self, revision: int) -> bool:
        """Whether it may take the place of an answer that it contradicts."""
        return self.correction and self.seen in (None, revision)


class Predicted(NamedTuple):
    """What was predicted, as far as feedback has to know it.

    Attributes
    ----------
    model, version: which model answered.
    prediction: a label, or a regression's number.
    labels: the classes that it could have been; None for a regression.
    """

    model: str
    version: str
    prediction: Label
    labels: tuple[Label, ...] | None


class Truth(NamedTuple):
    """What is said to be so.

    Attributes
    ----------
    target: what would have been right; None where it is only known that the prediction is wrong.
    correct: whether the prediction is right; None where nobody said so of a regression.
    """

    target: Label | None
    correct: bool | None


def labels_of(
    prediction: Label, probabilities: dict[str, float] | None, served: Sequence[Label] | None
) -> tuple[Label, ...] | None:
    """The classes that a prediction could have been; None for a regression.

    Parameters
    ----------
    prediction, probabilities: as they were stored.
    served: the classes of the version that is served now, for a prediction without probabilities.
    """
    if isinstance(prediction, float):
        return None
    if probabilities is not None:
        return tuple(map(type(prediction), probabilities))
    if served is None and not isinstance(prediction, str):
        return None  # SQLite gives a whole number back as an integer, whatever it was
    return tuple(dict.fromkeys((*(served or ()), prediction)))


def label_from_text(text: str, predicted: Predicted) -> Label:
    """The class or number that a form's text stands for.

    Raises
    ------
    InputError: it stands for none that the model could have given.
    """
    if predicted.labels is None:
        try:
            return _number(float(text))
        except ValueError:
            return _number(text)
    by_name = {str(label): label for label in predicted.labels}
    return by_name[text] if text in by_name else _class(text, predicted)


def read_truth(said: Feedback, predicted: Predicted) -> Truth:
    """What somebody's words mean for this prediction.

    Raises
    ------
    InputError: the target is none that the model could have given, or what was said disagrees with itself.
    """
    target = _target(said, predicted)
    if target is None:
        return Truth(None, correct=False)
    right = target == predicted.prediction
    if said.correct not in (None, right):
        says, was = str(said.correct).lower(), _quote(predicted.prediction)
        raise InputError([Problem("correct", f"got {says}, but {was} was predicted and target is {_quote(target)}")])
    return Truth(target, said.correct if predicted.labels is None else right)


def status_of(prediction: Label, standing: Truth | None, said: Truth) -> Status:
    """How something that was said relates to what stands; ``corrected`` where it contradicts that."""
    if standing is None:
        return "recorded"
    if said.target is None:
        return "corrected" if standing.target == prediction else "repeated"
    if standing.target is None:
        return "corrected" if said.target == prediction else "completed"
    return "repeated" if said.target == standing.target else "corrected"


def _target(said: Feedback, predicted: Predicted) -> Label | None:
    """What would have been right; None where only wrong is known."""
    if said.target is not None:
        return _number(said.target) if predicted.labels is None else _class(said.target, predicted)
    if said.correct:
        return predicted.prediction
    others = [label for label in predicted.labels or () if label != predicted.prediction]
    return others[0] if len(others) == 1 else None


def _number(target: Label) -> float:
    try:
        if not isinstance(target, str) and math.isfinite(number := float(target)):
            return number
    except OverflowError:
        pass
    raise InputError([Problem("target", f"got {_quote(target)}, expected a finite number")])


def _class(target: Label, predicted: Predicted) -> Label:
    labels = predicted.labels or ()
    # 1.0 and 1 are equal, and only one of them is the label.
    if type(target) is type(predicted.prediction) and target in labels:
        return target
    hint = nearest(str(target)[:_LONGEST_QUOTE], map(str, labels))
    raise InputError([Problem("target", f"got {_quote(target)}, which is no class of the model{hint[:500]}")])


def _quote(value: Label) -> str:
    return repr(value)[:_LONGEST_QUOTE]
