"""The JSON bodies of feedback requests, validated."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic import Field as Constraint
from pydantic_core import PydanticCustomError

from ratchet.errors import InputError, Problem
from ratchet.feedback.ground_truth import Feedback, Label, Source

# The number of characters of the id of a row of a batch. PostgreSQL cannot compare with the character NUL.
LONGEST_ID = 42
_LONGEST_PATH = 100


def _target(value: Any) -> Label:
    is_number = isinstance(value, int | float) and abs(value) < math.inf  # true and false may name classes
    if not is_number and not isinstance(value, str):
        raise PydanticCustomError("target", "Input should be a class of the model, or a finite number")
    label: Label = value
    return label


PredictionId = Annotated[str, Constraint(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]*$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Body = TypeVar("Body", bound=_Body)


class _FeedbackBody(_Body):
    prediction_id: PredictionId
    target: Annotated[Any, AfterValidator(_target)] = None
    correct: bool = False
    correction: bool = False

    def feedback(self, source: Source) -> Feedback:
        given = self.model_fields_set
        if not given & {"target", "correct"}:
            raise InputError([Problem("target", "Field required, or correct instead of it")])
        correct = self.correct if "correct" in given else None
        return Feedback(self.prediction_id, self.target, correct, self.correction, source)


class _BatchBody(_Body):
    feedback: list[Any] = Constraint(min_length=1)


class _LinkBody(_Body):
    prediction_id: PredictionId


def read_feedback(body: bytes) -> Feedback:
    """Return the feedback in a JSON object.

    Raises
    ------
    InputError: names each wrong field.
    """
    parsed, keys = _parse(_FeedbackBody, body)
    _refuse_duplicate(keys)
    return parsed.feedback("user")


def read_feedback_batch(body: bytes, most: int) -> list[Feedback | InputError]:
    """Return the items of the JSON object ``{"feedback": [{…}, …]}``, or the error of an item that cannot be read.

    Raises
    ------
    InputError: the body is not such an object, or has more than ``most`` items.
    """
    parsed, keys = _parse(_BatchBody, body)
    items = parsed.feedback
    if len(items) > most:
        raise InputError([Problem("feedback", f"List should have at most {most} items, not {len(items)}")])
    _refuse_duplicate(keys)
    return [_read_item(item, found) for item, found in zip(items, keys["feedback"], strict=True)]


def read_prediction_id(body: bytes) -> str:
    """Return the id in the JSON object ``{"prediction_id": …}``.

    Raises
    ------
    InputError: names each wrong field.
    """
    parsed, keys = _parse(_LinkBody, body)
    _refuse_duplicate(keys)
    return parsed.prediction_id


def _read_item(item: Any, keys: Any) -> Feedback | InputError:
    if not isinstance(item, dict):
        return InputError([Problem("body", "Input should be an object")])
    try:
        parsed = _FeedbackBody.model_validate(item)
        _refuse_duplicate(keys)
        return parsed.feedback("batch")
    except ValidationError as error:
        return _refusal(error)
    except InputError as error:
        return error


def _refusal(error: ValidationError) -> InputError:
    problems = error.errors(include_url=False, include_input=False)
    named = ((".".join(map(str, item["loc"]))[:_LONGEST_PATH] or "body", item["msg"]) for item in problems)
    return InputError([Problem(*problem) for problem in named])


class _ObjectWithDuplicate(dict[str, Any]):
    key: str


def _keep_duplicate(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked, seen = _ObjectWithDuplicate(found), set[str]()
    for key, _ in pairs:
        if key in seen:
            marked.key = key
        seen.add(key)
    return marked


def _parse(model: type[Body], body: bytes) -> tuple[Body, Any]:
    """Validate a body, and parse it again for duplicate keys, of which Pydantic silently takes the last."""
    try:
        parsed = model.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None
    return parsed, json.loads(body, object_pairs_hook=_keep_duplicate)


def _refuse_duplicate(found: Any) -> None:
    if isinstance(found, _ObjectWithDuplicate):
        raise InputError([Problem(found.key[:_LONGEST_PATH], "is given more than once")])
