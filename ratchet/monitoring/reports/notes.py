"""What the reader of a report has to know of its rows: a line for each thing that is out of the ordinary."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ratchet.data.schema import MISSING, Field
from ratchet.monitoring.production_rows import LabelledRow

# More of a kind than this are counted and not named.
_MOST_NAMED = 3


def label_notes(labelled: Sequence[LabelledRow], judged: Sequence[LabelledRow], *, classes: bool) -> list[str]:
    """What is to be said of the labelled rows.

    Parameters
    ----------
    labelled: rows that feedback has come for.
    judged: those of them that can be scored, with what is taken to be right.
    classes: whether the model predicts classes.
    """
    targets = [row.target for row in judged]
    guessed = len(targets) - sum(row.target is not None for row in labelled)
    notes = []
    if not targets:
        notes.append("no prediction has a known truth yet: nothing is said of quality")
    elif classes and len(set(targets)) == 1:
        notes.append(f"all {len(targets)} labelled rows are of one class, {targets[0]!r}")
    if guessed:
        notes.append(f"{guessed} rows are only known to be wrong: the likeliest other class stands for what is right")
    if len(targets) < len(labelled):
        notes.append(f"{len(labelled) - len(targets)} rows are left out: what is right is not known of them")
    return notes


def column_notes(field: Field, reference: pd.Series, current: pd.Series) -> tuple[bool, list[str]]:
    """Whether a feature can be compared, and what is to be said of it.

    Parameters
    ----------
    field: the feature.
    reference, current: its values in training and in production, as the model takes them.
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
