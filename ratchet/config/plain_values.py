"""Values of any shape in a config, such as hyper-parameters, which keep their types through JSON.

JSON has text keys only, and neither NaN nor infinity. ZenML's parameters, studies and records are JSON. A mapping with
other keys is dumped as ``{"__mapping__": [[key, value], …]}``, and such a number as ``{"__float__": "nan"}``. Python's
dump has the marks too: ZenML writes it as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_MAPPING, _FLOAT = "__mapping__", "__float__"


def plain(value: Any) -> Any:
    """Return a dumped config as values that YAML has: lists for tuples, and text for paths."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def to_json(value: Any) -> Any:
    """Return a value as JSON has it, with marks for what JSON does not have."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and not {_MAPPING, _FLOAT} & set(value):
            return {key: to_json(part) for key, part in value.items()}
        return {_MAPPING: [[to_json(key), to_json(part)] for key, part in value.items()]}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    return value


def from_json(value: Any) -> Any:
    """Return the value that ``to_json`` was given; a value without its marks, as in older records, is unchanged."""
    if isinstance(value, list | tuple):
        return [from_json(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    match list(value.items()):
        case [(str(mark), [*pairs])] if mark == _MAPPING and all(_is_pair(pair) for pair in pairs):
            return {from_json(key): from_json(part) for key, part in pairs}
        case [(str(mark), "nan" | "inf" | "-inf" as text)] if mark == _FLOAT:
            return float(text)
    return {key: from_json(part) for key, part in value.items()}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


AnyValue = Annotated[Any, BeforeValidator(from_json), PlainSerializer(to_json)]
