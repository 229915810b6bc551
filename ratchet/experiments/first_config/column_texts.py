"""What only the text of a column shows: a missing header, words for a missing value, number formats and codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ratchet.config import CsvDataset, TsvDataset
from ratchet.data.column_reader import PANDAS_MISSING
from ratchet.data.columns import row_number
from ratchet.data.number_text import NumberFormat
from ratchet.data.suspicion import quoted
from ratchet.data.text_shapes import are_codes, number_shape
from ratchet.errors import DataError
from ratchet.experiments.first_config.file_sample import FileSample

# Marks for a missing value besides the words of pandas.
_MARKS = frozenset({"?", "-", "--", ".", "*", "n.a.", "na", "unknown", "Unknown", "missing", "Missing", "(null)"})
# With more different texts, two that are one number are roundings and no codes.
_MOST_CODES = 50
# Columns whose name may be a value before the file counts as one without a header.
_HEADER_SHARE = 0.5
_PLAIN = NumberFormat()


@dataclass(frozen=True)
class TextRule:
    """The rule of a column that its text asks for, and why."""

    name: str
    rule: Mapping[str, Any]
    why: str


def read_texts(sample: FileSample, target: str) -> pd.DataFrame:
    """Return the rows of a CSV or TSV file as text, None where a field is empty."""
    from ratchet.data.sources.files import FileSource

    columns = {name: {"type": "category"} for name in sample.header}
    kind = CsvDataset if sample.keys["source"] == "csv" else TsvDataset
    keys = sample.keys_of_rows({**sample.keys, "target": target, "columns": columns})
    return FileSource(kind.model_validate(keys)).read()


def require_header(texts: pd.DataFrame, sample: FileSample, target: str) -> None:
    """Refuse a file whose first line has values and no names.

    More than half of the names are numbers in a column of numbers, or values of their column. The target's name is one
    of them, or is not in the first line: columns of years or pixels are named with numbers.

    Raises
    ------
    DataError: with the first line.
    """
    found = [name for name in texts.columns if _is_value(str(name), texts[name])]
    is_named = target in texts.columns and target not in found
    if not is_named and len(found) > _HEADER_SHARE * len(texts.columns):
        shown = quoted(", ".join(sample.header))
        raise DataError(f"{sample.path} has no header: its first line, {shown}, has values; add a line of column names")


def _is_value(name: str, values: pd.Series[Any]) -> bool:
    known = values.dropna()
    if _PLAIN.parse(name) is None:
        return name != "" and bool((known == name).any())
    distinct = known.unique()[:1000]
    return bool(np.mean([_PLAIN.parse(text) is not None for text in distinct] or [False]) > 0.5)


def rules_of_texts(texts: pd.DataFrame, target: str) -> Iterator[TextRule]:
    """Yield the rules of columns whose type is not what their text seems to be.

    Raises
    ------
    DataError: a column of numbers has a text that is neither a number nor a word for a missing value.
    """
    for name in texts.columns:
        found = _rule(texts[name], is_target=name == target)
        if found is not None:
            yield found


def _rule(values: pd.Series[Any], *, is_target: bool) -> TextRule | None:
    name, counts = str(values.name), values.value_counts()
    words = [text for text in counts.index if _PLAIN.parse(text) is None]
    numbers = [text for text in counts.index if _PLAIN.parse(text) is not None]
    if not words:
        return None if is_target else _codes(name, numbers)
    if counts[words].sum() >= counts[numbers].sum() or are_codes(numbers):
        return None
    marks = sorted(word for word in words if word in PANDAS_MISSING or word in _MARKS)
    rest = [word for word in words if word not in marks]
    missing = {"missing": marks} if marks else {}
    shown = ", ".join(map(quoted, marks))
    if not rest:
        return TextRule(name, missing, f"a number, with {shown} for a missing value")
    shape = number_shape([*numbers, *rest])
    if shape is not None and not shape.unit and (shape.decimal, shape.thousands) != (".", None):
        written: dict[str, Any] = {"type": "number"} | ({"decimal": ","} if shape.decimal == "," else {})
        written |= {"thousands": shape.thousands} if shape.thousands else {}
        return TextRule(name, missing | written, f"numbers are written as {quoted(rest[0])}")
    if is_target:
        return None
    rows = values.index[values.isin(rest)]
    raise DataError(
        f"column {name!r}: expected a number, got {quoted(values[rows[0]])} in row {row_number(rows[0])}"
        f" ({len(rows)} such): correct these fields, or leave them empty if the value is missing"
    )


def _codes(name: str, numbers: Sequence[str]) -> TextRule | None:
    """Return the rule for versions such as 1.1 and 1.10, which would be one number."""
    if len(numbers) > _MOST_CODES:
        return None
    by_number: dict[float | None, str] = {}
    for text in numbers:
        other = by_number.setdefault(_PLAIN.parse(text), text)
        if other != text and "." in other and "." in text:
            pair = " and ".join(sorted((other, text)))
            return TextRule(name, {"type": "category"}, f"{pair} are different values, and one number")
    return None
