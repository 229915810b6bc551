"""Feedback as clients send it: read from JSON, and refused with the field's name where it is none."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic import Field as Constraint
from pydantic_core import PydanticCustomError

from ratchet.errors import InputError, Problem
from ratchet.feedback.truth import Feedback, Label, Source

# As many characters as an id has. PostgreSQL cannot compare with the character NUL.
LONGEST_ID = 36
_LONGEST_PATH = 100


def _target(value: Any) -> Label:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
    if not is_number and not isinstance(value, str):
        raise PydanticCustomError("target", "Input should be a class of the model, or a finite number")
    label: Label = value
    return label


class _Said(BaseModel):
    """One object of feedback."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prediction_id: str = Constraint(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]*$")
    target: Annotated[Any, AfterValidator(_target)] = None
    correct: bool = False
    correction: bool = False

    def feedback(self, source: Source) -> Feedback:
        given = self.model_fields_set
        if not given & {"target", "correct"}:
            raise InputError([Problem("target", "Field required, or correct in its place")])
        correct = self.correct if "correct" in given else None
        return Feedback(self.prediction_id, self.target, correct, self.correction, source)


class _Batch(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    feedback: list[Any] = Constraint(min_length=1)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prediction_id: str = Constraint(min_length=1, max_length=LONGEST_ID, pattern=r"^[^\x00]*$")


def read_feedback(body: bytes, source: Source = "user") -> Feedback:
    """What somebody says of a prediction, from its JSON.

    Raises
    ------
    InputError: names each field that is wrong.
    """
    try:
        said = _Said.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None
    _refuse_twice(_keys(body))
    return said.feedback(source)


def read_feedback_batch(body: bytes, most: int) -> list[Feedback | InputError]:
    """What somebody says of many predictions, from the JSON ``{"feedback": [{…}, …]}``.

    Parameters
    ----------
    most: how many there may be.

    Returns
    -------
    In the same order, what is said, or why it cannot be read.

    Raises
    ------
    InputError: it is no such batch.
    """
    try:
        items = _Batch.model_validate_json(body).feedback
    except ValidationError as error:
        raise _refusal(error) from None
    if len(items) > most:
        raise InputError([Problem("feedback", f"List should have at most {most} items, not {len(items)}")])
    keys = _keys(body)
    _refuse_twice(keys)
    return [_read_item(item, found) for item, found in zip(items, keys["feedback"], strict=True)]


def read_prediction_id(body: bytes) -> str:
    """The id from the JSON ``{"prediction_id": …}``.

    Raises
    ------
    InputError: names each field that is wrong.
    """
    try:
        asked = _Asked.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None
    _refuse_twice(_keys(body))
    return asked.prediction_id


def _read_item(item: Any, keys: Any) -> Feedback | InputError:
    if not isinstance(item, dict):
        return InputError([Problem("body", "Input should be an object")])
    try:
        said = _Said.model_validate(item)
        _refuse_twice(keys)
        return said.feedback("batch")
    except ValidationError as error:
        return _refusal(error)
    except InputError as error:
        return error


def _refusal(error: ValidationError) -> InputError:
    problems = error.errors(include_url=False, include_input=False)
    named = ((".".join(map(str, item["loc"]))[:_LONGEST_PATH] or "body", item["msg"]) for item in problems)
    return InputError([Problem(*problem) for problem in named])


class _Twice(dict[str, Any]):
    """An object in which a key is given more than once."""

    key: str


def _keys(body: bytes) -> Any:
    """Valid JSON, read again to see equal keys, of which the other parser takes the last and says nothing."""

    def closed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        twice, seen = _Twice(found), set[str]()
        twice.key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return twice

    return json.loads(body, object_pairs_hook=closed)


def _refuse_twice(found: Any) -> None:
    if isinstance(found, _Twice):
        raise InputError([Problem(found.key[:_LONGEST_PATH], "is given more than once")])
