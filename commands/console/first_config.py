"""The output of ``init``: what was found in a file, each decision with its reason, and the next command."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console.formats import coloured, field_table, wide_console

if TYPE_CHECKING:
    from rich.text import Text

    from ratchet.experiments.first_config.decide import FirstConfig

_TITLES = {
    "task": "task",
    "evaluate.primary_metric": "metric",
    "dataset.positive": "positive class",
    "dataset.time": "time",
    "dataset.group": "series",
    "dataset.window": "lags",
    "dataset.fill": "gaps",
    "dataset.repeated": "repeated times",
    "split": "holdout",
    "dataset.decimal": "numbers",
    "dataset.drop": "left out",
    "dataset.columns": "columns",
    "embed": "text",
    "dataset.batch_rows": "memory",
    "train": "estimator",
}
# Columns of one kind that are listed.
_MOST = 12


def print_first_config(first: FirstConfig, folder: Path, written: tuple[str, ...]) -> None:
    """Print what was decided and why, the warnings, the files, and the command that trains."""
    shown = os.path.relpath(folder)
    rows: list[tuple[str, str | Text]] = [
        ("file", _file(first)),
        ("target", first.data.schema.target),
        ("features", _features(first)),
        *_decisions(first),
        *(("warning", coloured(warning, "refused")) for warning in first.warnings),
        ("written", f"{shown}/: {', '.join(written)}"),
        ("next", f"python run.py --config {first.name}"),
    ]
    wide_console().print(field_table(rows))


def _file(first: FirstConfig) -> str:
    sample, n_columns = first.sample, len(first.sample.header)
    keys = [f"{key} {value!r}" for key, value in sample.keys.items() if key in ("separator", "encoding")]
    about = "" if sample.complete else "about "
    seen = "" if sample.complete else f"; {len(first.data.frame):,} from all parts of the file were looked at"
    return ", ".join([f"{sample.path}: {about}{first.n_rows:,} rows", f"{n_columns} columns", *keys]) + seen


def _features(first: FirstConfig) -> str:
    """Return how many features there are of each type, and which have missing values."""
    fields = first.data.schema.features
    counts = Counter(field.type for field in fields)
    plural = {"number": "numbers", "category": "categories", "text": "texts", "time": "times"}
    kinds = ", ".join(f"{count} {kind if count == 1 else plural[kind]}" for kind, count in counts.items())
    missing = first.data.frame[[field.name for field in fields]].isna().mean().sort_values(ascending=False)
    gaps = [f"{name!r} {share:.1%}" for name, share in missing.items() if share]
    more = f" and {len(gaps) - _MOST} more" if len(gaps) > _MOST else ""
    return f"{len(fields)}: {kinds}" + (f"; missing: {', '.join(gaps[:_MOST])}{more}" if gaps else "")


def _decisions(first: FirstConfig) -> Iterator[tuple[str, str]]:
    for key, title in _TITLES.items():
        found: list[Any] = [one for one in first.decisions if one.key == key]
        for one in found[:_MOST]:
            examples = f" ({one.examples})" if one.examples else ""
            yield title if one is found[0] else "", f"{one.value}: {one.why}{examples}"
        if len(found) > _MOST:
            yield "", f"{len(found) - _MOST} more, in {first.recipes[0].stem}.yaml"
