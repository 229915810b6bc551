"""The controls of a form for one record, made from the schema of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ratchet.data.schema import Field
from ratchet.model.record_schema import Record, is_nullable

# More categories than these are suggestions for a text field, and no list to choose from.
_MOST_CHOICES = 50
_MOST_SUGGESTIONS = 500


@dataclass(frozen=True)
class Control:
    """The control of one feature.

    Attributes
    ----------
    name: of the feature.
    kind: how the value is entered and sent.
    value: what the form shows at first.
    options: to choose from, or suggestions.
    optional: whether the value may be missing.
    hint: what the training data or the config says about the values.
    """

    name: str
    kind: Literal["number", "boolean", "choice", "suggestion", "text", "time"]
    value: str
    optional: bool
    hint: str = ""
    options: tuple[str, ...] = ()


def controls_of(fields: tuple[Field, ...], example: Record) -> list[Control]:
    """Return the controls of the features, in their order, filled with an example."""
    return [_control(field, example) for field in fields]


def _control(field: Field, example: Mapping[str, float | str | None]) -> Control:
    value, optional = example[field.name], is_nullable(field)
    if field.boolean:
        return Control(field.name, "boolean", "true" if value else "false", optional, options=("true", "false"))
    if field.type == "number":
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
        return Control(field.name, "number", shown, optional, _range(field))
    if field.type == "category":
        known = field.rule.categories or field.categories or ()
        kind: Literal["choice", "suggestion"] = "choice" if 0 < len(known) <= _MOST_CHOICES else "suggestion"
        hint = f"{len(known)} values in training" if kind == "suggestion" and known else ""
        return Control(field.name, kind, str(value), optional, hint, known[:_MOST_SUGGESTIONS])
    hint = "UTC" if field.type == "time" else ""
    return Control(field.name, "time" if field.type == "time" else "text", str(value), optional, hint)


def _range(field: Field) -> str:
    parts = []
    if field.minimum is not None and field.maximum is not None:
        parts.append(f"{field.minimum:.4g} to {field.maximum:.4g} in training")
    low, high = field.rule.minimum, field.rule.maximum
    if low is not None or high is not None:
        limits = [f"at least {low:.6g}"] if low is not None else []
        limits += [f"at most {high:.6g}"] if high is not None else []
        parts.append(" and ".join(limits))
    return "; ".join(parts)
