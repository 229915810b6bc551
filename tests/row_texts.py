"""The rows of a file as the texts that are in it, and as the JSON of requests."""

from __future__ import annotations

import csv
import io
import json
import re

from ratchet.data import Schema

# What JSON takes for a number.
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
Row = dict[str, str]


def text_rows(content: bytes, separator: str = ",") -> list[Row]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=separator))


def as_strings(row: Row, schema: Schema) -> str:
    return json.dumps({name: row[name] for name in schema.feature_names})


def as_numbers(row: Row, schema: Schema) -> str:
    """Write a number's own text as a JSON number, and an empty field as null."""
    values = []
    for field in schema.features:
        text = row[field.name]
        plain = text.replace(field.rule.decimal or ".", ".") if field.type == "number" else text
        is_number = _JSON_NUMBER.fullmatch(plain) and field.type != "text"
        twins = sum(float(known) == float(plain) for known in field.categories or ()) if is_number else 0
        value = plain if is_number and twins < 2 else json.dumps(text or None)
        values.append(f"{json.dumps(field.name)}: {value}")
    return f"{{{', '.join(values)}}}"
