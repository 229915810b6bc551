"""A draft of the card of a data set: what is known of its columns, and what a person has to add."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ratchet.data.schema import Field
from ratchet.experiments.first_config.decide import FirstConfig

_SHOWN_CATEGORIES = 6
_LONGEST_NAME = 60


def data_card(first: FirstConfig) -> str:
    """Return the card as Markdown."""
    data, sample = first.data, first.sample
    about = "" if sample.complete else "about "
    seen = "" if sample.complete else f", of which {len(data.frame):,} were looked at"
    left_out = [f"- {_cell(one.value)}: {one.why}" for one in first.decisions if one.key == "dataset.drop"]
    return "\n".join(
        [
            f"# {first.name}",
            "",
            "A draft by `run.py init`. Add what the file does not say, at each TODO.",
            "",
            "| | |",
            "| --- | --- |",
            f"| Source | `{_cell(sample.path.name)}`; TODO: who made it, when, and how |",
            "| Licence | TODO |",
            f"| Rows | {about}{first.n_rows:,}{seen} |",
            f"| Features | {len(data.schema.features)} |",
            f"| Target | `{_cell(data.schema.target)}`: {_target(first)} |",
            f"| MD5 | {f'`{data.data_version}`' if sample.complete else 'see `data_version` of a run'} |",
            "",
            "| Column | Unit | Range | Missing |",
            "| --- | --- | --- | --- |",
            *(_row(field, data.frame[field.name]) for field in data.schema.features),
            "",
            *(["**Left out.**", "", *left_out, ""] if left_out else []),
            "**Known problems.**",
            "",
            *(f"- {warning}" for warning in first.warnings or ("TODO",)),
            "",
            f"**Metric.** `{first.goal.metric}`: {first.goal.constant[1]} for every row has"
            f" {first.goal.constant[0]:.3g}. TODO: from which figure on a model is of use.",
            "",
        ]
    )


def _target(first: FirstConfig) -> str:
    shares = first.goal.shares
    if not shares:
        values = first.goal.values
        return f"a number, {values.min():g} to {values.max():g}"
    shown = [f"{_cell(str(label))} ({share:.1%})" for label, share in list(shares.items())[:_SHOWN_CATEGORIES]]
    return ", ".join(shown) + (f" and {len(shares) - len(shown)} more" if len(shares) > len(shown) else "")


def _row(field: Field, values: pd.Series[Any]) -> str:
    share = float(values.isna().mean())
    return f"| `{_cell(field.name)}` | TODO | {_range(field, values)} | {f'{share:.1%}' if share else ''} |"


def _range(field: Field, values: pd.Series[Any]) -> str:
    if field.type == "number":
        return f"{field.minimum:g} to {field.maximum:g}"
    if field.type == "text":
        return f"text of up to {field.longest} characters"
    if field.type == "time":
        return f"{values.min()} to {values.max()}"
    known = field.categories or ()
    if len(known) > _SHOWN_CATEGORIES:
        return f"{len(known):,} categories"
    return ", ".join(map(_cell, known))


def _cell(text: str) -> str:
    """Return text for a cell of a table, in one line."""
    line = " ".join(text.replace("|", "\\|").replace("`", "'").split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"
