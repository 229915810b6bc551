"""Records as clients send them: read from JSON, checked against what the model takes, refused with the field's name.

The types come from the package's schema, so that every model has a documented body of its own. A value beyond what
was seen in training is accepted, since that is what drift looks like; one that breaks a rule of the config is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic import Field as Constraint
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from ratchet.data.schema import Field, Schema
from ratchet.errors import InputError, Problem

Value = float | str | None
Record = dict[str, Value]

# The largest number that single precision has: beyond it, ONNX would compute with infinity.
LARGEST = float(np.finfo(np.float32).max)
# The longest text, in characters: some ten pages.
LONGEST_TEXT = 20_000
_SOME_TIME = "2026-01-31T18:00:00"
_MOST_PROBLEMS = 20
_LONGEST_PATH = 100


class RecordReader:
    """Reads one record, or many, for one schema.

    Parameters
    ----------
    schema: the features that a record has to name.
    most_rows: how many records a batch may hold.
    """

    def __init__(self, schema: Schema, most_rows: int = 10_000) -> None:
        self._fields = schema.features
        record = _record_type(schema)
        self._one: TypeAdapter[Record] = TypeAdapter(record)
        rows = Annotated[list[record], Constraint(min_length=1, max_length=most_rows)]  # type: ignore[valid-type]
        batch = _closed("Records", {"rows": rows})
        self._many: TypeAdapter[dict[str, list[Record]]] = TypeAdapter(batch)
        self._most_rows = most_rows
        self._names = frozenset(schema.feature_names)
        self._texts = not schema.numeric

    def read(self, body: bytes) -> Record:
        """One record from its JSON.

        Returns
        -------
        The values by feature, in the model's order; a missing one is None, or is left out.

        Raises
        ------
        InputError: names each field that is wrong.
        """
        try:
            record = self._one.validate_json(body)
        except ValidationError as error:
            raise _refusal(error) from None
        self._check_keys(body, (record,), batch=False)
        return record

    def read_many(self, body: bytes) -> list[Record]:
        """Records from the JSON ``{"rows": [record, …]}``.

        Raises
        ------
        InputError: names the record and the field of each value that is wrong.
        """
        try:
            rows = self._many.validate_json(body)["rows"]
        except ValidationError as error:
            raise _refusal(error) from None
        self._check_keys(body, rows, batch=True)
        return rows

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of one record, with an example that works when pasted."""
        return self._one.json_schema() | {"example": self.example()}

    def batch_schema(self) -> dict[str, Any]:
        """JSON Schema of a batch."""
        rows = {"type": "array", "minItems": 1, "maxItems": self._most_rows, "items": self._one.json_schema()}
        return {
            "type": "object",
            "title": "Records",
            "properties": {"rows": rows},
            "required": ["rows"],
            "additionalProperties": False,
            "example": {"rows": [self.example()]},
        }

    def example(self) -> Record:
        """A record from the middle of what was seen in training."""
        return {field.name: _typical(field) for field in self._fields}

    def _check_keys(self, body: bytes, rows: Sequence[Record], *, batch: bool) -> None:
        """Refuse equal keys; the quotes tell, since the parser keeps the last of them and says nothing."""
        keys = sum(map(len, rows))
        texts = sum(isinstance(value, str) for row in rows for value in row.values()) if self._texts else 0
        if body.count(b'"') != 2 * (batch + keys + texts) or b"\\" in body:
            _refuse_duplicates(body, self._names if batch else frozenset())


def _record_type(schema: Schema) -> Any:
    fields = {field.name: _annotation(field) for field in schema.features}
    return _closed("Record", fields)


def _closed(name: str, fields: dict[str, Any]) -> Any:
    """The type of an object with these fields and no other."""
    kind: Any = TypedDict(name, fields)  # type: ignore[misc]
    kind.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return kind


def _annotation(field: Field) -> Any:
    kind = _KINDS[field.type](field)
    return NotRequired[kind | None] if _optional(field) else kind


def _optional(field: Field) -> bool:
    return field.nullable and field.rule.nullable


def _number(field: Field) -> Any:
    low, high = field.rule.minimum, field.rule.maximum
    seen = f"seen in training: {field.minimum:.6g} to {field.maximum:.6g}" if field.minimum is not None else None
    return Annotated[
        float,
        Constraint(
            ge=-LARGEST if low is None else low,
            le=LARGEST if high is None else high,
            allow_inf_nan=False,
            description=seen,
            examples=[_typical(field)],
        ),
    ]


def _category(field: Field) -> Any:
    known = field.categories or ()
    seen = f"seen in training: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}" if known else None
    if field.rule.categories is not None:
        return Annotated[Literal[field.rule.categories], Constraint(description=seen, examples=[_typical(field)])]
    # PostgreSQL cannot keep the character NUL.
    return Annotated[str, Constraint(pattern=r"^[^\x00]*$", description=seen, examples=[_typical(field)])]


def _text(field: Field) -> Any:
    seen = "words to read"
    return Annotated[
        str,
        Constraint(pattern=r"^[^\x00]*$", max_length=LONGEST_TEXT, description=seen, examples=[_typical(field)]),
    ]


def _time(field: Field) -> Any:
    seen = "a time in ISO 8601; without a zone it is UTC"
    shown: dict[str, Any] = {"format": "date-time"}
    return Annotated[
        str,
        AfterValidator(canonical_time),
        Constraint(max_length=40, description=seen, examples=[_typical(field)], json_schema_extra=shown),
    ]


_KINDS: dict[str, Callable[[Field], Any]] = {"number": _number, "category": _category, "text": _text, "time": _time}


def canonical_time(text: str) -> str:
    """A time as training has it: in UTC, without its zone, such as ``2026-01-31T18:00:00``.

    Raises
    ------
    PydanticCustomError: it is no time in ISO 8601.
    """
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "time", "Input should be a time in ISO 8601, such as {example}", {"example": _SOME_TIME}
        ) from None
    return time.isoformat()


def _typical(field: Field) -> float | str:
    """A value that stands for a column in an example."""
    if field.type in ("text", "time"):
        return _SOME_TIME if field.type == "time" else "some words to read"
    if field.type == "category":
        return (field.rule.categories or field.categories or ("",))[0]
    if field.minimum is None or field.maximum is None:
        return 0.0
    middle = (field.minimum + field.maximum) / 2
    return float(f"{middle:.3g}") if field.minimum <= float(f"{middle:.3g}") <= field.maximum else middle


def _refusal(error: ValidationError) -> InputError:
    problems = [
        Problem(_path(item["loc"]), item["msg"]) for item in error.errors(include_url=False, include_input=False)
    ]
    return InputError(problems[:_MOST_PROBLEMS])


def _path(location: Sequence[Any]) -> str:
    """Where a problem is, such as ``petal_width`` or ``rows[3].petal_width``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path[:_LONGEST_PATH] or "body"


def _refuse_duplicates(body: bytes, fields: frozenset[str]) -> None:
    """Refuse JSON with two equal keys in one object, of which a parser would silently take one.

    Parameters
    ----------
    body: valid JSON.
    fields: of the records of a batch, by which their rows are counted; empty for a single record.
    """
    row = 0

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal row
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            place = (f"rows[{row}].{twice}" if not fields.isdisjoint(found) else twice)[:_LONGEST_PATH]
            raise InputError([Problem(place, "is given more than once")])
        row += not fields.isdisjoint(found)
        return found

    json.loads(body, object_pairs_hook=unique)
