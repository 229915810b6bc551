"""Ratings: the columns of users and items."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from ratchet.errors import DataError
from ratchet.experiments.first_config.draft import Draft

_USER = re.compile(r"user|customer|client|member|account|person|reviewer", re.IGNORECASE)
_ITEM = re.compile(r"item|product|movie|film|book|song|track|article", re.IGNORECASE)
_RATING = re.compile(r"rating|stars", re.IGNORECASE)


def are_ratings(draft: Draft, rows: pd.DataFrame) -> bool:
    """Whether the names of the target and of two columns with repeated values are those of ratings."""
    free = _repeated(draft, rows)
    is_number = pd.api.types.is_numeric_dtype(rows[draft.target])
    named = any(map(_USER.search, free)) and any(map(_ITEM.search, free))
    return bool(named and is_number and _RATING.search(draft.target))


def user_and_item(draft: Draft, rows: pd.DataFrame) -> tuple[str, str]:
    """Choose the columns of users and items, by their names, else the first two whose values repeat; drop the others.

    Raises
    ------
    DataError: there are no two such columns.
    """
    free = _repeated(draft, rows)
    user = next(iter([name for name in free if _USER.search(name)] or free), None)
    free = [name for name in free if name != user]
    item = next(iter([name for name in free if _ITEM.search(name)] or free), None)
    if user is None or item is None:
        raise DataError(f"--task recommendation: {draft.sample.path} has no two columns for users and items")
    for name in draft.features:
        if name not in (user, item):
            draft.drop(name, "not used by a recommendation")
    for name, what in ((user, "users"), (item, "items")):
        draft.declare(name, {"type": "category"}, f"the column of {what}")
    return user, item


def _repeated(draft: Draft, rows: pd.DataFrame) -> list[str]:
    """Return the features whose values are no quantities and repeat."""
    return [name for name in draft.features if rows[name].duplicated().any() and not _has_fractions(rows[name])]


def _has_fractions(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_float_dtype(values) and not bool((values.dropna() % 1 == 0).all())
