"""A warning about a data set, with the line of the config that fixes it."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from ratchet.config import Column, Dataset
from ratchet.data.column_reader import ColumnReader, rule_of

Kind = Literal[
    "row number",
    "id",
    "constant",
    "number-like text",
    "date-like text",
    "digits",
    "many categories",
    "determines the target",
    "repeated rows",
]
# Characters of a name or a value in a warning.
_LONGEST = 60
_EXAMPLES = 3
_PLAIN = re.compile(r"[A-Za-z_]\w*$")
_RESERVED = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


class Suspicion(BaseModel):
    """A warning about a column or about the rows.

    Attributes
    ----------
    column: its name; None for a warning about the rows.
    found: what was found, with an example.
    fix: the line of the config that fixes it, or what to do with the data where there is none.
    """

    model_config = ConfigDict(frozen=True)

    column: str | None
    kind: Kind
    found: str
    fix: str

    def __str__(self) -> str:
        place = "" if self.column is None else f"column {quoted(self.column)}: "
        return f"{place}{self.found}: {self.fix}"


class DataWarnings(BaseModel):
    """The warnings about the data set of a run."""

    model_config = ConfigDict(frozen=True)

    found: tuple[Suspicion, ...] = ()


def drop_line(name: str, config: Dataset) -> str:
    """Return the line that leaves out a column besides those that the config leaves out."""
    return f"dataset.drop: [{', '.join(map(_yaml, [*config.drop, name]))}]"


def typed_line(name: str, config: Dataset, **rule: str | list[str]) -> str:
    """Return the line that declares a column, with what the config says of it already, and its missing words."""
    if "missing" in rule:
        known = ColumnReader(name, rule_of(config, name)).missing_words - {""}
        rule |= {"missing": [*sorted(known), *rule["missing"]]}
    declared = config.columns.get(name, Column()).model_dump(mode="json", exclude_unset=True)
    keys = ", ".join(f"{key}: {_yaml(value)}" for key, value in (declared | rule).items())
    return f"dataset.columns: {{{_yaml(name)}: {{{keys}}}}}"


def examples(values: pd.Series[Any]) -> str:
    """Return the first different values in brackets."""
    first = values.dropna().unique()[: _EXAMPLES + 1].tolist()
    return f" ({', '.join([quoted(value) for value in first[:_EXAMPLES]] + ['…'] * (len(first) > _EXAMPLES))})"


def quoted(value: object) -> str:
    """Return a name or a value as a warning shows it, cut off where it is long."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]}…{text[-1]}"


def _yaml(value: Any) -> str:
    """Return a value for a line of YAML, which JSON is too."""
    is_plain = isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _RESERVED
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)
