"""The base class of all parts of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from ratchet.config.plain_values import from_json, plain


def _with_strict_numbers(schema: Any) -> Any:
    """Return a schema of pydantic, or a part of it, with a check before each number."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_with_strict_numbers, schema))
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") in ("int", "float"):
        return core_schema.no_info_before_validator_function(_refuse_boolean, schema)
    return {key: _with_strict_numbers(part) for key, part in schema.items()}


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("bool_as_number", "Input should be a number, not true or false")
    return value


class Section(BaseModel):
    """A part of a config: frozen, without keys that are not declared, and with finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse ``true`` and ``false`` for each number, of which pydantic makes 1 and 0."""
        schema: CoreSchema = _with_strict_numbers(handler(source))
        return schema

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        """Name the declared keys in the error, which pydantic's own error lacks."""
        for key in data if isinstance(data, Mapping) else ():
            if key not in cls.model_fields:
                known = sorted(cls.model_fields)
                raise PydanticCustomError("unknown_key", "unknown key {key}", {"key": str(key), "known": known})
        return data

    def to_plain(self, **options: Any) -> dict[str, Any]:
        """Return the section as plain values of YAML, whose keys keep their types; options as for ``model_dump``."""
        dumped: dict[str, Any] = plain(from_json(self.model_dump(**options)))
        return dumped
