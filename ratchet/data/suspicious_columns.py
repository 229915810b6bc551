"""Warnings about columns that a model should probably not learn as they are, each with the config line that fixes it.

The rules look at a sample of ``SAMPLE`` rows, and read a whole column only to confirm what the sample shows, so that
their time hardly grows with the rows.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ratchet.config import LABELLED, Column, Dataset, TaskName
from ratchet.config.datasets import Delimited
from ratchet.data.column_reader import ColumnReader, rule_of
from ratchet.data.repeated_values import Codes, determines, repeated_rows
from ratchet.data.suspicion import Kind, Suspicion, drop_line, examples, quoted, typed_line
from ratchet.data.text_shapes import are_codes, date_shape, number_shape, word_among_numbers
from ratchet.errors import DataError

# Rows that the rules look at.
SAMPLE = 20_000
# With fewer rows, equal and different values are chance.
FEWEST_ROWS = 20
# A column of text has more values than categories have, from this share of the rows and this number on.
_MANY, _FEW = 0.1, 10
# Values of a column whose form is read.
_VALUES_READ = 1000
# float64 does not hold every integer of more digits.
_LARGEST_EXACT = 1e15
# Integers that are no ids have more equal pairs than this by chance.
_PAIRS_BY_CHANCE = 10
# Texts of this many words on average are sentences.
_WORDS = 3
NAMED_ID = re.compile(r"((^|[_\W])(id|uuid|guid|key)|[a-z]I[dD])$", re.IGNORECASE)
_UNNAMED = re.compile(r"(Unnamed: \d+|__index_level_\d+__)?$")


Values = pd.Series  # of one column


@dataclass(frozen=True)
class _Finding:
    """What a rule found in a column; ``rule`` declares the column rightly, and without one it is left out."""

    kind: Kind
    text: str
    rule: Mapping[str, str | list[str]] = field(default_factory=dict)


# A rule takes all values of a column, and those sampled ones that are not missing.
_Rule = Callable[[Values, Values], _Finding | None]


def suspicious_columns(frame: pd.DataFrame, config: Dataset, task: TaskName) -> tuple[Suspicion, ...]:
    """Return the warnings about the rows of a source, as it reads them: at most one for each column, then of the rows.

    Columns that the config drops are left out. A declared type settles what a column is, but not whether it determines
    the target.
    """
    unused = {*config.drop, config.target, config.time}
    features = [name for name in frame.columns if str(name) not in unused]
    sample = frame.iloc[_positions(len(frame))]
    is_open = {name: config.columns.get(str(name), Column()).type is None for name in features}
    findings = {name: _of_column(frame[name], _known(sample[name], config)) for name in features if is_open[name]}
    fixes = _number_formats({name: one for name, one in findings.items() if one}, frame, config)
    found = {name: _suspicion(frame[name], one, config, fixes.get(name)) for name, one in findings.items() if one}
    if len(frame) < FEWEST_ROWS or config.target not in frame.columns:
        return tuple(found.values())
    codes = {name: _codes(sample[name]) for name in frame.columns if str(name) not in config.drop}
    repeated = repeated_rows(frame, codes)
    if repeated is not None:  # in a repeated row, each value would have the same target
        once = ~pd.DataFrame(codes).duplicated().to_numpy()
        sample, codes = sample[once], {name: values[once] for name, values in codes.items()}
    truth = sample[config.target], codes[config.target]
    for name in features:
        if name not in found and determines(sample[name], codes[name], *truth, labelled=task in LABELLED):
            found[name] = _suspicion(frame[name], _leak(sample[name], config.target), config)
    return (*(found[name] for name in features if name in found), *_of_rows(repeated))


def require_none(found: Sequence[Suspicion], config: Dataset) -> None:
    """Raise a ``DataError`` with the first warning about a data set that has ``strict``."""
    if config.strict and found:
        more = f" (and {len(found) - 1} more, which --dry-run lists)" if len(found) > 1 else ""
        raise DataError(f"dataset.strict: {found[0]}{more}")


def _positions(n_rows: int) -> npt.NDArray[np.intp]:
    if n_rows <= SAMPLE:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(0).choice(n_rows, SAMPLE, replace=False))


def _known(values: Values, config: Dataset) -> Values:
    """Return the values that are neither missing nor a missing word of the config."""
    name = str(values.name)
    return ColumnReader(name, rule_of(config, name)).known(values).dropna()


def _codes(values: Values) -> Codes:
    """Return the position of each value among the different ones, a missing value last."""
    codes, distinct = pd.factorize(values)
    return np.where(codes < 0, len(distinct), codes)


def _number_formats(findings: dict[Any, _Finding], frame: pd.DataFrame, config: Dataset) -> dict[Any, str]:
    """Return the lines for columns with a decimal comma, which is that of the whole data set where no column differs.

    A comma before three digits in each number can be either; it is decimal where another column has a decimal comma, or
    where the fields of the file are separated by semicolons, as they are then. A text of a typed source is only read as
    a number where its column is declared one.
    """
    rules = {name: one.rule for name, one in findings.items() if one.kind == "number-like text" and one.rule}
    if getattr(config, "separator", ",") != ";" and not any("decimal" in rule for rule in rules.values()):
        return {}
    names = [
        name
        for name, rule in rules.items()
        if "decimal" in rule or (rule.get("thousands") == "," and not _has_points(frame[name]))
    ]
    if not _is_delimited(config) or any(pd.api.types.is_float_dtype(kind) for kind in frame.dtypes):
        commas = {name: {key: text for key, text in rules[name].items() if text != ","} for name in names}
        return {name: typed_line(str(name), config, **rule, decimal=",") for name, rule in commas.items()}
    groups = {rules[name].get("thousands", ",") for name in names} - {","}
    line = f'dataset: {{decimal: ",", thousands: "{groups.pop()}"}}' if len(groups) == 1 else 'dataset.decimal: ","'
    return dict.fromkeys(names, line)


def _has_points(values: Values) -> bool:
    """Whether a number with commas has a point too, which is then the decimal character."""
    return any("." in text for text in _forms(values.dropna()))


def _is_delimited(config: Dataset) -> bool:
    return isinstance(config, Delimited) and getattr(config, "kind", config.source) != "parquet"


def _suspicion(values: Values, finding: _Finding, config: Dataset, fix: str | None = None) -> Suspicion:
    name = str(values.name)
    fix = fix or (typed_line(name, config, **finding.rule) if finding.rule else drop_line(name, config))
    return Suspicion(
        column=name, kind=finding.kind, found=f"{finding.text}{examples(values.head(_VALUES_READ))}", fix=fix
    )


def _of_column(values: Values, known: Values) -> _Finding | None:
    if _UNNAMED.match(str(values.name)) and values.is_unique:
        return _Finding("row number", "has no name, and another value in each row")
    if not len(known) or len(values) < FEWEST_ROWS:
        return None
    return next((found for rule in _rules(values, known) if (found := rule(values, known))), None)


def _rules(values: Values, known: Values) -> tuple[_Rule, ...]:
    """Return the rules for the type of a column."""
    if pd.api.types.is_numeric_dtype(values):
        return (_constant,) if pd.api.types.is_bool_dtype(values) else (_constant, _long_integers, _different_integers)
    if pd.api.types.is_datetime64_any_dtype(values) or isinstance(known.iloc[0], datetime.date):
        return _constant, _times
    is_text = all(isinstance(value, str) for value in known.unique())
    return (_constant, _codes_as_text, _dates, _numbers_as_text, _different_texts) if is_text else ()


def _constant(values: Values, known: Values) -> _Finding | None:
    if known.nunique() > 1 or values.isna().any() or values.nunique() > 1:
        return None
    return _Finding("constant", "has the same value in every row")


def _long_integers(_: Values, known: Values) -> _Finding | None:
    numbers = known.to_numpy(dtype=np.float64)
    if not _are_integers(numbers) or np.abs(numbers).max() < _LARGEST_EXACT:
        return None
    return _Finding("digits", "has integers of 16 digits or more, which a number cuts off", {"type": "category"})


def _different_integers(values: Values, known: Values) -> _Finding | None:
    if not _are_integers(known.to_numpy(dtype=np.float64)) or values.isna().any() or not _are_different(values, known):
        return None
    low, span = float(values.min()), float(values.max() - values.min()) + 1
    if low in (0, 1) and span == len(values):
        return _Finding("row number", "numbers the rows")
    if len(values) ** 2 / (2 * span) > _PAIRS_BY_CHANCE or NAMED_ID.search(str(values.name)):
        return _Finding("id", "has another integer in each row")
    return None


def _are_integers(numbers: npt.NDArray[np.float64]) -> bool:
    return bool(np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all())


def _are_different(values: Values, known: Values) -> bool:
    return bool(known.is_unique and values.is_unique)


def _codes_as_text(values: Values, known: Values) -> _Finding | None:
    if not are_codes(_forms(known)):
        return None
    if _are_different(values, known):
        return _Finding("id", "has other digits in each row")
    return _Finding(
        "digits",
        "has digits with leading zeros or 16 digits or more, which are read as categories",
        {"type": "category"},
    )


def _dates(_: Values, known: Values) -> _Finding | None:
    form = date_shape(_forms(known))
    rule = {"type": "time"} if form == "iso" else {}
    return _Finding("date-like text", "has dates, each of which is read as a category", rule) if form else None


def _times(_: Values, __: Values) -> _Finding:
    return _Finding("date-like text", "has times, and is not declared as a time", {"type": "time"})


def _numbers_as_text(values: Values, known: Values) -> _Finding | None:
    texts = _forms(known)
    word = word_among_numbers(texts)
    number = number_shape([text for text in texts if text != word])
    if number is None:
        return None
    found = f"has numbers{f' and {quoted(word)}' if word else ''} as text, each of which is read as a category"
    if number.unit:
        if number.unit.isalpha() and not _has_many(values, known):  # names such as 3G and 4G
            return None
        advice = f"write the numbers without {quoted(number.unit)} into the data, or leave the column out"
        return _Finding("number-like text", f"{found}; {advice}")
    rule: dict[str, str | list[str]] = {"missing": [word]} if word else {}
    rule |= {"type": "number"} | ({} if number.decimal == "." else {"decimal": ","})
    return _Finding("number-like text", found, rule | ({"thousands": number.thousands} if number.thousands else {}))


def _different_texts(values: Values, known: Values) -> _Finding | None:
    are_sentences = np.mean([len(text.split()) for text in _forms(known)]) >= _WORDS
    if not are_sentences and _are_different(values, known):
        return _Finding("id", "has another text in each row")
    if not _has_many(values, known):
        return None
    found = f"has {values.nunique():,} categories in {len(values):,} rows"
    return _Finding("many categories", found, {"type": "text"} if are_sentences else {})


def _has_many(values: Values, known: Values) -> bool:
    """Whether a column of text has more different values than categories have."""
    return all(part.nunique() > max(_FEW, _MANY * len(part)) for part in (known, values))


def _forms(known: Values) -> list[str]:
    """Return some of the different texts of a column."""
    return [str(value) for value in known.unique()[:_VALUES_READ]]


def _leak(sample: Values, target: str) -> _Finding:
    found = f"determines the target {quoted(target)}, which has one value for each of its {sample.nunique()} values"
    return _Finding("determines the target", found)


def _of_rows(repeated: int | None) -> list[Suspicion]:
    if repeated is None:
        return []
    found = f"about {repeated:,} rows repeat an earlier row, which is more than chance"
    return [Suspicion(column=None, kind="repeated rows", found=found, fix="remove them from the data")]
