"""Notes on the rows of a report: one line for each unusual property."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ratchet.data.schema import MISSING, Field
from ratchet.monitoring.production_rows import LabelledRow

# The number of unknown categories that are named.
_MOST_NAMED = 3


def label_notes(labelled: Sequence[LabelledRow], scored: Sequence[LabelledRow], *, classes: bool) -> list[str]:
    """Return the notes on labelled rows.

    Parameters
    ----------
    labelled: rows with feedback.
    scored: those that can be scored, each with a known or assumed target.
    """
    targets = [row.target for row in scored]
    assumed = len(targets) - sum(row.target is not None for row in labelled)
    notes = []
    if not targets:
        notes.append("no prediction has a label yet: quality is not measured")
    elif classes and len(set(targets)) == 1:
        notes.append(f"all {len(targets)} labelled rows are of one class, {targets[0]!r}")
    if assumed:
        notes.append(f"{assumed} rows are only marked as wrong: the most probable other class is taken as their label")
    if len(targets) < len(labelled):
        notes.append(f"{len(labelled) - len(targets)} rows are left out: their label is unknown")
    return notes


def column_notes(field: Field, reference: pd.Series, current: pd.Series) -> tuple[bool, list[str]]:
    """Return whether a feature can be compared, and the notes on it.

    Parameters
    ----------
    reference, current: its values in training and in production, in the model's types.
    """
    for where, values in {"in training": reference, "in production": current}.items():
        if not _present(values).any():
            return False, [f"column {field.name!r}: no value in {len(values)} rows {where}; it is left out"]
    notes = []
    if current.nunique(dropna=False) == 1 < reference.nunique(dropna=False):
        notes.append(f"column {field.name!r}: {_shown(current.iloc[0])} in all {len(current)} rows in production")
    if field.type == "category":
        notes += _unseen(field, current)
    return True, notes


def _unseen(field: Field, current: pd.Series) -> list[str]:
    known = {*(field.categories or ()), MISSING}
    counts = current[~current.isin(known)].value_counts()
    if counts.empty:
        return []
    named = ", ".join(f"{_shown(value)} ({count} rows)" for value, count in counts.head(_MOST_NAMED).items())
    more = f" and {len(counts) - _MOST_NAMED} more" if len(counts) > _MOST_NAMED else ""
    return [f"column {field.name!r}: never seen in training: {named}{more}"]


def _present(values: pd.Series) -> pd.Series:
    return values.notna() & (values != MISSING) if values.dtype == object else values.notna()


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
