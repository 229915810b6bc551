"""What a person sees of a comparison on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from ratchet.experiments.comparison import text
from ratchet.experiments.comparison.link import LOCAL_PAGES, pages_of
from ratchet.experiments.comparison.table import Comparison
from ratchet.settings import Settings


def print_comparison(comparison: Comparison) -> None:
    """The table, one line for each verdict's reason and each note; what is in Production is bold."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for i, title in enumerate(text.titles(comparison)):
        table.add_column(_narrow(title), overflow="fold", no_wrap=i in (2, 3, 4, 5))
    names = text.short_names(comparison.parameters)
    for row in comparison.rows:
        table.add_row(*map(_narrow, text.cells(row, names, "\n")), style="bold" if row.in_production else None)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for line in text.conclusions(comparison):
        console.print(line, soft_wrap=True)


def _narrow(cell: str) -> str:
    """What stands in parentheses on a line of its own, so that the table fits more terminals."""
    return cell.replace(" (", "\n(")


def print_places(settings: Settings, comparison: Comparison, files: Iterable[Path], run: str | None) -> None:
    """Where the comparison can be found again: files, the run that has it, and the address in MLflow's pages.

    Parameters
    ----------
    settings: where MLflow is.
    comparison: what was compared.
    files: what was written.
    run: the MLflow run that it was logged to, None for none.
    """
    from rich.console import Console

    lines = [f"file      {path}" for path in files]
    if run:
        lines.append(f"logged    MLflow run {run} in {settings.tracking_place}")
    lines.append(f"in MLflow {comparison.url}")
    if pages_of(settings) == LOCAL_PAGES:
        lines.append("          (python run.py ui mlflow opens these pages)")
    console = Console(highlight=False, markup=False)
    for line in lines:
        console.print(line, soft_wrap=True)
