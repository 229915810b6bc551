"""The base class of all parts of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A part of a config: frozen, without keys that are not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        """Name the declared keys in the error, which pydantic's own error lacks."""
        for key in data if isinstance(data, Mapping) else ():
            if key not in cls.model_fields:
                known = sorted(cls.model_fields)
                raise PydanticCustomError("unknown_key", "unknown key {key}", {"key": str(key), "known": known})
        return data
