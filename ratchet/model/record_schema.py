"""Read records from JSON as a schema defines them, and refuse others with the name of the field.

The types come from the package's schema. A value outside the range seen in training is accepted, since that is drift;
one that breaks a rule of the config is refused. A body that is not of these types is read again value by value by the
columns' readers, which accept the text of the training file for a number, and a JSON number for a category.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired, TypeVar

import numpy as np
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic import Field as Constraint
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from ratchet.data.column_reader import ColumnReader, JsonNumber
from ratchet.data.schema import Field, Schema
from ratchet.errors import InputError, Problem

Value = float | str | None
Record = dict[str, Value]
Body = TypeVar("Body")

# The largest number of single precision: ONNX would compute with infinity beyond it.
LARGEST = float(np.finfo(np.float32).max)
# Characters of a text: about ten pages.
LONGEST_TEXT = 20_000
LONGEST_TIME = 40
# PostgreSQL cannot store the character NUL.
_WITHOUT_NUL = r"^[^\x00]*$"
_EXAMPLE_TIME = "2026-01-31T18:00:00"
_MOST_PROBLEMS = 20
_MOST_CATEGORIES = 20
_LONGEST_PATH = 100
_QUOTE = ord('"')
_NOT_NULLABLE = "no training row lacks it; declare it as nullable: true under dataset.columns, and train again"


class RecordReader:
    """Read single records, or batches of at most ``most_rows``, of one schema."""

    def __init__(self, schema: Schema, most_rows: int = 10_000) -> None:
        self.fields = schema.features
        self.most_rows = most_rows
        self._readers = {field.name: field.reader for field in schema.features}
        record = _closed("Record", {field.name: _annotation(field) for field in schema.features})
        self._one: TypeAdapter[Record] = TypeAdapter(record)
        rows = Annotated[list[record], Constraint(min_length=1, max_length=most_rows)]  # type: ignore[valid-type]
        self._many: TypeAdapter[dict[str, list[Record]]] = TypeAdapter(_closed("Records", {"rows": rows}))
        self._names = frozenset(schema.feature_names)
        self._has_texts = not schema.numeric
        self._nullable = {field.name: is_nullable(field) for field in schema.features}

    def read(self, body: bytes) -> Record:
        """Read a record from its JSON: value by feature, in the model's order; a missing value is None or absent.

        Raises
        ------
        InputError: has each invalid field.
        """
        try:
            record = self._one.validate_json(body)
        except ValidationError as error:
            return self._reread(self._one, body, error)
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
            return self._reread(self._many, body, error)["rows"]
        self._check_keys(body, rows, batch=True)
        return rows

    def read_values(self, rows: list[dict[str, Any]]) -> list[Record]:
        """Read records from values as JSON has them, whose numbers are ``JsonNumber``; changes them.

        Raises
        ------
        InputError: has the row and the field of each invalid value.
        """
        return self._validated(self._many, {"rows": rows})["rows"]

    def _reread(self, adapter: TypeAdapter[Body], body: bytes, error: ValidationError) -> Body:
        """Read a body value by value, as the readers of the columns do.

        Raises
        ------
        InputError: has each invalid field, with a hint.
        """
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise _refusal(error) from None
        found = parse_numbers_as_text(body)
        read = self._validated(adapter, found)
        refuse_equal_keys(body, self._names if adapter is self._many else frozenset())
        return read

    def _validated(self, adapter: TypeAdapter[Body], found: Any) -> Body:
        """Read parsed JSON, whose numbers are ``JsonNumber``; changes it.

        Raises
        ------
        InputError: has each invalid field, with a hint.
        """
        hints: dict[tuple[str | int, ...], str] = {}
        if adapter is self._one:
            self._convert(found, (), hints)
        elif isinstance(found, dict) and isinstance(found.get("rows"), list):
            for number, row in enumerate(found["rows"]):
                self._convert(row, ("rows", number), hints)
        try:
            return adapter.validate_python(found)
        except ValidationError as error:
            raise _refusal(error, hints) from None

    def _convert(self, row: Any, place: tuple[str | int, ...], hints: dict[tuple[str | int, ...], str]) -> None:
        """Replace the values of a row by those that the model takes; keep what cannot be read, with a hint."""
        if not isinstance(row, dict):
            return
        for name, value in row.items():
            if name not in self._readers:
                continue
            try:
                row[name] = self._readers[name].from_json(value)
            except ValueError as error:
                row[name] = float(value) if isinstance(value, JsonNumber) else value
                hints[(*place, name)] = str(error)
            if row[name] is None and not self._nullable[name]:
                hints[(*place, name)] = _NOT_NULLABLE

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a record, with a valid example."""
        return self._one.json_schema() | {"example": self.example()}

    def batch_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a batch, with a valid example."""
        rows = {"type": "array", "minItems": 1, "maxItems": self.most_rows, "items": self._one.json_schema()}
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
        return {field.name: _typical(field) for field in self.fields}

    def _check_keys(self, body: bytes, rows: Sequence[Record], *, batch: bool) -> None:
        """Refuse equal keys, of which the parser keeps the last; counting quotes finds them without a second parse."""
        keys = sum(map(len, rows))
        texts = sum(isinstance(value, str) for row in rows for value in row.values()) if self._has_texts else 0
        if may_have_equal_keys(body, batch + keys + texts):
            refuse_equal_keys(body, self._names if batch else frozenset())


def parse_numbers_as_text(body: bytes) -> Any:
    """Parse JSON with its numbers as ``JsonNumber``, which keeps how they are written."""
    return json.loads(body, parse_int=JsonNumber, parse_float=JsonNumber, parse_constant=JsonNumber)


def may_have_equal_keys(body: bytes, texts: int) -> bool:
    """Whether valid JSON may have more keys and texts than the parser returned, which keeps the last of equal keys."""
    quotes = np.count_nonzero(np.frombuffer(body, dtype=np.uint8) == _QUOTE)  # bytes.count takes five times as long
    return quotes != 2 * texts or (b"\\" in body and b'\\"' in body)  # the first is found in no time


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


def is_nullable(field: Field) -> bool:
    """Whether a record may lack a value."""
    return field.nullable and field.rule.nullable is not False


def _annotation(field: Field) -> Any:
    kind = _number(field) if field.type == "number" else _text(field)
    reader = field.reader
    if reader.missing_numbers if field.type == "number" else reader.missing_words - {""}:
        kind = Annotated[kind, AfterValidator(_without_missing(reader))]
    return NotRequired[kind | None] if is_nullable(field) else kind


def _without_missing(reader: ColumnReader) -> Callable[[Any], Any]:
    """Return a validator that refuses the words for a missing value, which the reader then replaces."""
    missing: frozenset[Any] = reader.missing_numbers if reader.rule.type == "number" else reader.missing_words

    def check(value: Any) -> Any:
        if value in missing:
            raise PydanticCustomError("missing_word", "Input stands for a missing value")
        return value

    return check


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
    # The empty text is a missing value; packages from before this rule took it for a text.
    shortest = None if field.rule.missing is None else 1
    documented = _of_any_length if is_nullable(field) else None
    if field.type == "text":
        longest = max(LONGEST_TEXT, field.longest or 0)
        limits = Constraint(
            pattern=_WITHOUT_NUL,
            min_length=shortest,
            max_length=longest,
            description="a free text",
            examples=examples,
            json_schema_extra=documented,
        )
        return Annotated[str, limits]
    if field.type == "time":
        limits = Constraint(
            max_length=LONGEST_TIME,
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
    limits = Constraint(
        pattern=_WITHOUT_NUL,
        min_length=shortest,
        description=seen,
        examples=examples,
        json_schema_extra=documented,
    )
    return Annotated[str, limits]


def _of_any_length(schema: dict[str, Any]) -> None:
    """Document that the empty text is accepted, as a missing value."""
    schema.pop("minLength", None)


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


def _refusal(error: ValidationError, hints: Mapping[tuple[str | int, ...], str] | None = None) -> InputError:
    problems = []
    for item in error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]:
        hint = (hints or {}).get(item["loc"])
        problems.append(Problem(_path(item["loc"]), f"{item['msg']}: {hint}" if hint else item["msg"]))
    return InputError(problems)


def _path(location: Sequence[Any]) -> str:
    """Return the place of a problem, such as ``petal_width`` or ``rows[3].petal_width``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path[:_LONGEST_PATH] or "body"


def refuse_equal_keys(body: bytes, fields: frozenset[str] = frozenset()) -> None:
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
