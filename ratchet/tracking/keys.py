"""Keys of MLflow for columns and for a config, so that no name of a user's column is part of a key.

MLflow limits keys to 250 characters of a small alphabet, and PostgreSQL or MySQL behind it can ignore case.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratchet.config.section import Section

# Sections of a config whose keys are names of columns. In train.params, the values of a parameter can be a mapping too.
_KEYED_BY_USER = ("dataset.columns", "dataset.window.lags")
_PARAMETER_OF_ESTIMATOR = "train.params."


def column_key(name: str) -> str:
    """Return the key of a column: ``c_`` and ten hexadecimal digits of the SHA-256 of its name.

    It depends on the name alone, so that a column keeps its key where others are added, dropped or moved.
    """
    return f"c_{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def config_params(config: Section) -> dict[str, str]:
    """Return a config as parameters with dotted keys; a section whose keys are a user's is one value, in JSON."""
    values = flat(config.to_plain())
    return {key: json.dumps(value) if _is_whole(key, value) else str(value) for key, value in values.items()}


def separate_params(params: Mapping[str, str]) -> dict[str, str]:
    """Return parameters with the sections in JSON as a parameter for each of their keys, as they are compared.

    Runs from before sections were logged in JSON have that form already.
    """
    separate: dict[str, str] = {}
    for key, value in params.items():
        section = _parsed(value) if _is_user_keyed(key) else None
        found = {key: value} if section is None else flat({key: section}, whole=False)
        separate |= {name: str(part) for name, part in found.items()}
    return separate


def flat(values: Mapping[str, Any], prefix: str = "", *, whole: bool = True) -> dict[str, Any]:
    """Flatten nested mappings to dotted keys: ``{"a": {"b": 1}}`` is ``{"a.b": 1}``.

    Parameters
    ----------
    prefix: in front of every key.
    whole: whether a mapping with a user's keys stays one value.
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and not (whole and _is_user_keyed(path)):
            result |= flat(value, f"{path}.", whole=whole)
        else:
            result[path] = value
    return result


def _is_user_keyed(path: str) -> bool:
    return path in _KEYED_BY_USER or path.startswith(_PARAMETER_OF_ESTIMATOR)


def _is_whole(path: str, value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and _is_user_keyed(path)


def _parsed(value: str) -> dict[str, Any] | None:
    """Return the mapping that a parameter has in JSON; None for another value, and for one that was cut off."""
    try:
        found = json.loads(value) if value.startswith("{") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and found else None
