"""The columns of a file: which are left out, which are categories, texts or times, and why.

The warnings about suspicious columns decide, and their lines are put into the config.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import pandas as pd

from ratchet.config import TaskName
from ratchet.data.batches.scan import MOST_CATEGORIES
from ratchet.data.suspicion import quoted
from ratchet.data.suspicious_columns import NAMED_ID, suspicious_columns
from ratchet.errors import DataError
from ratchet.experiments.first_config.column_texts import read_texts, require_header, rules_of_texts
from ratchet.experiments.first_config.draft import Draft
from ratchet.experiments.first_config.file_sample import FileSample, require_target

_NAMED_CODE = re.compile(r"(^|[_\W])((zip|post|postal)_?code|zip|plz|code|sku|version|release)$", re.IGNORECASE)
_SENTINEL = re.compile(r"-9{3,5}$")
# A column that is named as an id and has at most this number of values may hold categories.
_FEW_IDS = 20
# The share of rows with a value that a code has at least, on average.
_CODE_SHARE = 0.1
# The share of missing values from which a column has a warning.
_MOSTLY_MISSING = 0.5
# Fixes change types, which can show more: a decimal comma makes numbers of texts.
_ROUNDS = 3


def draft_columns(sample: FileSample, target: str | None) -> Draft:
    """Return the draft with the rules of all columns, before a task or a time is chosen.

    Raises
    ------
    DataError: there is no header or no such target, a value does not fit its column, or no column is left to learn
        from.
    """
    if len(sample.header) < 2:
        raise DataError(
            f"{sample.path} has one column, {sample.header[0]!r}: a model needs a target and a column to learn from"
        )
    is_text = sample.keys["source"] != "parquet"
    texts = read_texts(sample, target or sample.header[-1]) if is_text else None
    if texts is not None:
        require_header(texts, sample, target or "")
    draft = Draft(sample, {**sample.keys, "target": require_target(sample, target)})
    for found in rules_of_texts(texts, draft.target) if texts is not None else ():
        draft.declare(found.name, found.rule, found.why)
    for name in sample.nested:
        draft.drop(name, "has lists or structures")
    for _ in range(_ROUNDS):
        before = len(draft.decisions)
        _apply_warnings(draft)
        if len(draft.decisions) == before:
            break
    return draft


def _apply_warnings(draft: Draft) -> None:
    rows = draft.rows()
    for name in [str(name) for name in rows.columns if name != draft.target]:
        if rows[name].isna().all():
            draft.drop(name, "every value is missing")
        elif (sentinel := _sentinel(rows[name])) is not None and "missing" not in draft.declared.get(name, {}):
            draft.declare(
                name, {"missing": [sentinel]}, f"{sentinel} stands for a missing value, all others are not negative"
            )
    no_target = " ".join(draft.sample.header) + "."  # the target is looked at like any other column
    for found in suspicious_columns(rows, draft.config(target=no_target, positive=None), "classification"):
        if found.column == draft.target and found.kind not in ("number-like text", "digits"):
            continue
        if found.kind == "constant" and not draft.sample.complete:
            draft.warnings.append(f"column {quoted(found.column)} has one value in the rows that were looked at")
        elif found.column is not None and not (found.column == draft.target and "drop" in found.fix):
            draft.fix(found)


def _sentinel(values: pd.Series[Any]) -> str | None:
    """Return a repeated -999 among numbers that are not negative."""
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return None
    negative = values[values < 0]
    word = f"{float(negative.iloc[0]):g}" if len(negative) > 1 and negative.nunique() == 1 else ""
    return word if _SENTINEL.match(word) and len(negative) < values.count() else None


def settle_columns(draft: Draft, rows: pd.DataFrame, task: TaskName, needed: Collection[str]) -> None:
    """Leave out ids, columns of too many categories, and those that determine the target; warn of missing values.

    Parameters
    ----------
    needed: columns that the task needs as they are, such as the group of a series.

    Raises
    ------
    DataError: no column is left to learn from.
    """
    for name in [name for name in draft.features if name not in needed]:
        _settle(draft, rows[name])
    _drop_leaks(draft, rows, task)
    if not draft.features and not draft.dataset.get("time"):
        reasons = ", ".join(
            f"{one.value} {one.why}" for one in draft.decisions[:10] if one.key == "dataset.drop"
        )  # fmt: skip
        raise DataError(f"{draft.sample.path}: no column is left to learn from: {reasons}")
    for name in draft.features:
        share = float(rows[name].isna().mean())
        if share >= _MOSTLY_MISSING:
            draft.warnings.append(f"column {quoted(name)} is missing in {share:.0%} of the rows")


def _settle(draft: Draft, values: pd.Series[Any]) -> None:
    name, distinct = str(values.name), values.nunique()
    kind = draft.declared.get(name, {}).get("type")
    is_integer = pd.api.types.is_integer_dtype(values)
    is_number = pd.api.types.is_numeric_dtype(values) and kind != "category"
    if kind in ("text", "time") or distinct < 2:
        return
    if NAMED_ID.search(name) and distinct > _FEW_IDS and (is_integer or not is_number):
        draft.drop(name, f"is named as an id, and has {distinct:,} values")
        if distinct < len(values):
            draft.warnings.append(
                f"rows with one {quoted(name)} can be in the training rows and in the holdout, which makes the score"
                " too good where such rows are alike"
            )
    elif not is_number and distinct > MOST_CATEGORIES:
        draft.drop(name, f"has {distinct:,} categories")
    elif is_integer and kind is None and _NAMED_CODE.search(name) and distinct <= _CODE_SHARE * len(values):
        draft.declare(name, {"type": "category"}, "its name is that of a code, and its numbers are names")


def _drop_leaks(draft: Draft, rows: pd.DataFrame, task: TaskName) -> None:
    for found in suspicious_columns(rows, draft.config(), task):
        if found.kind == "repeated rows":
            draft.warnings.append(str(found))
        elif found.kind == "determines the target" and found.column is not None:
            if len(draft.features) < 2:
                draft.warnings.append(f"{found}, if it is not known when a prediction is made")
                continue
            draft.fix(found)
            draft.warnings.append(
                f"column {quoted(found.column)} determines the target and is left out: put it back if it is known when"
                " a prediction is made"
            )
