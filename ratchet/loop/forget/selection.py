"""The predictions to forget: some ids, or the values of some columns, typed by the schemas of the versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ratchet.data.schema import Schema
from ratchet.errors import ConfigError, RegistryError
from ratchet.model.record_schema import canonical_time
from ratchet.nearest_names import nearest
from ratchet.registry.model_version import Version
from ratchet.registry.version_files import readable_schema
from ratchet.settings import Settings

# The value of each column.
Condition = Mapping[str, float | str]


@dataclass(frozen=True)
class Selection:
    """The predictions to forget.

    Attributes
    ----------
    ids: of the predictions; None if they are selected by values.
    conditions: by version, the value of each column, of which a row has to have all; None if no row of the version can.
        The key None is for rows of unknown versions, such as deleted ones.
    """

    ids: frozenset[str] | None = None
    conditions: Mapping[str | None, Condition | None] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """What the ledger says about the selection, which is no value."""
        return "prediction ids" if self.ids is not None else f"values of {', '.join(self.columns)}"

    @property
    def columns(self) -> list[str]:
        """The columns of the conditions."""
        return sorted({name for condition in self.conditions.values() for name in condition or ()})

    def has(self, prediction_id: str, version: str | None, features: Mapping[str, Any] | None) -> bool:
        """Return whether a prediction is one of them."""
        if self.ids is not None:
            return prediction_id in self.ids
        condition = self.conditions[version if version in self.conditions else None]
        if condition is None or features is None:
            return False
        return all(_is_equal(features.get(name), value) for name, value in condition.items())


def selected_by_values(settings: Settings, versions: Sequence[Version], words: Iterable[str]) -> Selection:
    """Return the predictions whose columns have some values.

    Parameters
    ----------
    versions: of the model, in any order; the schema of each one types the values for its rows.
    words: each ``column=value``; the value is text as in the training file.

    Raises
    ------
    ConfigError: a condition is empty or repeated, names a column that no version has, or has a value of another type.
    """
    wanted = _parsed(words)
    schemas = {version.version: schema for version in versions if (schema := readable_schema(settings, version))}
    if not schemas:
        raise RegistryError("no package of this model can be read, and its schema types the values of --where")
    _require_columns(wanted, schemas.values())
    conditions: dict[str | None, Condition | None] = {}
    refused: list[ConfigError] = []
    for number in sorted(schemas, key=int):
        conditions[number] = None
        if wanted.keys() <= set(schemas[number].feature_names):
            try:
                conditions[number] = {name: _typed(schemas[number], name, value) for name, value in wanted.items()}
                conditions[None] = conditions[number]  # at last that of the newest version
            except ConfigError as error:
                refused.append(error)
    if None not in conditions:
        raise refused[-1]
    return Selection(conditions=conditions)


def _parsed(words: Iterable[str]) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name or not value:
            raise ConfigError(f"--where: got {word!r}, expected column=value with both")
        if name in wanted:
            raise ConfigError(f"--where: the column {name!r} is given twice: a row has one value of it")
        wanted[name] = value
    return wanted


def _require_columns(wanted: Mapping[str, str], schemas: Iterable[Schema]) -> None:
    columns = [set(schema.feature_names) for schema in schemas]
    known = set[str]().union(*columns)
    for name in wanted:
        if name not in known:
            raise ConfigError(f"--where: there is no column {name!r}{nearest(name, known)}")
    if not any(wanted.keys() <= names for names in columns):
        raise ConfigError(f"--where: no version has all of the columns {', '.join(wanted)}: no row can match")


def _typed(schema: Schema, name: str, value: str) -> float | str:
    """Return the value of a condition as the rows have it."""
    column = next(field for field in schema.features if field.name == name)
    try:
        typed = column.reader.from_json(value)
        if isinstance(typed, str) and column.type == "time":
            typed = canonical_time(typed)
    except ValueError as error:
        reason = f": {error}" if str(error) else ""
        raise ConfigError(f"--where {name}: expected a {column.type}, got {value!r}{reason}") from None
    if typed is None:
        raise ConfigError(f"--where {name}: {value!r} stands for a missing value, which no person is found by")
    return typed


def _is_equal(found: Any, wanted: float | str) -> bool:
    if isinstance(wanted, str):
        return isinstance(found, str) and found == wanted
    return isinstance(found, int | float) and float(found) == wanted
