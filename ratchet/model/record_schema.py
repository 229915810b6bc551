"""Read records from JSON as a schema defines them, and refuse others with the name of the field.

The types come from the package's schema. A value outside the range seen in training is accepted, since that is drift;
one that breaks a rule of the config is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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

# The largest number of single precision: ONNX would compute with infinity beyond it.
LARGEST = float(np.finfo(np.float32).max)
# Characters of a text: about ten pages.
LONGEST_TEXT = 20_000
_LONGEST_TIME = 40
# PostgreSQL cannot store the character NUL.
_WITHOUT_NUL = r"^[^\x00]*$"
_EXAMPLE_TIME = "2026-01-31T18:00:00"
_MOST_PROBLEMS = 20
_MOST_CATEGORIES = 20
_LONGEST_PATH = 100


class RecordReader:
    """Read single records, or batches of at most ``most_rows``, of one schema."""

    def __init__(self, schema: Schema, most_rows: int = 10_000) -> None:
        self._fields = schema.features
        record = _closed("Record", {field.name: _annotation(field) for field in schema.features})
        self._one: TypeAdapter[Record] = TypeAdapter(record)
        rows = Annotated[list[record], Constraint(min_length=1, max_length=most_rows)]  # type: ignore[valid-type]
        self._many: TypeAdapter[dict[str, list[Record]]] = TypeAdapter(_closed("Records", {"rows": rows}))
        self._most_rows = most_rows
        self._names = frozenset(schema.feature_names)
        self._has_texts = not schema.numeric

    def read(self, body: bytes) -> Record:
        """Read a record from its JSON: value by feature, in the model's order; a missing value is None or absent.

        Raises
        ------
        InputError: has each invalid field.
        """
        try:
            record = self._one.validate_json(body)
        except ValidationError as error:
            raise _refusal(error) from None
        self._check_keys(body, (record,), batch=False)
        return record

    def read_many(self, body: bytes) -> list[Record]:
        """Read records from the JSON ``{"rows": [record, …]}``.

        Raises
        ------
        InputError: has the row and the field of each invalid value.
        """
        try:
            rows = self._many.validate_json(body)["rows"]
        except ValidationError as error:
            raise _refusal(error) from None
        self._check_keys(body, rows, batch=True)
        return rows

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a record, with a valid example."""
        return self._one.json_schema() | {"example": self.example()}

    def batch_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a batch, with a valid example."""
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
        """Return a record with typical values of the training rows."""
        return {field.name: _typical(field) for field in self._fields}

    def _check_keys(self, body: bytes, rows: Sequence[Record], *, batch: bool) -> None:
        """Refuse equal keys, of which the parser keeps the last; counting quotes finds them without a second parse."""
        keys = sum(map(len, rows))
        texts = sum(isinstance(value, str) for row in rows for value in row.values()) if self._has_texts else 0
        if body.count(b'"') != 2 * (batch + keys + texts) or b"\\" in body:
            _refuse_duplicates(body, self._names if batch else frozenset())


def canonical_time(text: str) -> str:
    """Return a time as training rows have it: in UTC and without its zone, such as ``2026-01-31T18:00:00``.

    Raises
    ------
    PydanticCustomError: the text is not a time in ISO 8601.
    """
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "time", "Input should be a time in ISO 8601, such as {example}", {"example": _EXAMPLE_TIME}
        ) from None
    return time.isoformat()


def _closed(name: str, fields: dict[str, Any]) -> Any:
    """Return the type of an object with these fields and no others."""
    kind: Any = TypedDict(name, fields)  # type: ignore[misc]
    kind.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return kind


def _annotation(field: Field) -> Any:
    kind = _number(field) if field.type == "number" else _text(field)
    return NotRequired[kind | None] if field.nullable and field.rule.nullable else kind


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


def _text(field: Field) -> Any:
    examples = [_typical(field)]
    if field.type == "text":
        limits = Constraint(pattern=_WITHOUT_NUL, max_length=LONGEST_TEXT, description="a free text", examples=examples)
        return Annotated[str, limits]
    if field.type == "time":
        limits = Constraint(
            max_length=_LONGEST_TIME,
            description="a time in ISO 8601; without a zone it is UTC",
            examples=examples,
            json_schema_extra={"format": "date-time"},
        )
        return Annotated[str, AfterValidator(canonical_time), limits]
    known = field.categories or ()
    more = ", …" if len(known) > _MOST_CATEGORIES else ""
    seen = f"seen in training: {', '.join(known[:_MOST_CATEGORIES])}{more}" if known else None
    if field.rule.categories is not None:
        return Annotated[Literal[field.rule.categories], Constraint(description=seen, examples=examples)]
    return Annotated[str, Constraint(pattern=_WITHOUT_NUL, description=seen, examples=examples)]


def _typical(field: Field) -> float | str:
    if field.type in ("text", "time"):
        return _EXAMPLE_TIME if field.type == "time" else "an example text"
    if field.type == "category":
        return (field.rule.categories or field.categories or ("",))[0]
    if field.minimum is None or field.maximum is None:
        return 0.0
    middle = (field.minimum + field.maximum) / 2
    rounded = float(f"{middle:.3g}")
    return rounded if field.minimum <= rounded <= field.maximum else middle


def _refusal(error: ValidationError) -> InputError:
    problems = error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]
    return InputError([Problem(_path(item["loc"]), item["msg"]) for item in problems])


def _path(location: Sequence[Any]) -> str:
    """Return the place of a problem, such as ``petal_width`` or ``rows[3].petal_width``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path[:_LONGEST_PATH] or "body"


def _refuse_duplicates(body: bytes, fields: frozenset[str]) -> None:
    """Refuse valid JSON with two equal keys in one object.

    The rows of a batch are counted by the fields of its records, which are empty for a single record.
    """
    row = 0

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal row
        found = dict(pairs)
        is_row = not fields.isdisjoint(found)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            place = f"rows[{row}].{twice}" if is_row else twice
            raise InputError([Problem(place[:_LONGEST_PATH], "is given more than once")])
        row += is_row
        return found

    json.loads(body, object_pairs_hook=unique)
