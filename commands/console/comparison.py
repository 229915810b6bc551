"""The output of ``compare`` on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from commands.console.formats import wide_console
from ratchet.experiments.comparison import text
from ratchet.experiments.comparison.link import LOCAL_PAGES, pages_of
from ratchet.experiments.comparison.table import Comparison
from ratchet.settings import Settings


def print_comparison(comparison: Comparison) -> None:
    """Print the table, with the row in Production in bold, and below it the reasons and notes."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for i, title in enumerate(text.titles(comparison)):
        table.add_column(_narrow(title), overflow="fold", no_wrap=i in (2, 3, 4, 5))
    names = text.short_names(comparison.parameters)
    for row in comparison.rows:
        table.add_row(*map(_narrow, text.cells(row, names)), style="bold" if row.in_production else None)
    console = wide_console()
    console.print(table)
    for line in text.conclusions(comparison):
        console.print(line, soft_wrap=True)


def _narrow(cell: str) -> str:
    """Return a cell with its parentheses on a line of their own, so that the table fits narrow terminals."""
    return cell.replace(" (", "\n(")


def print_places(settings: Settings, comparison: Comparison, files: Iterable[Path], run: str | None) -> None:
    """Print where the comparison is: its files, its MLflow run if it was logged, and its URL in MLflow's pages."""
    for path in files:
        print(f"file      {path}")
    if run:
        print(f"logged    MLflow run {run} in {settings.tracking_place}")
    print(f"in MLflow {comparison.url}")
    if pages_of(settings) == LOCAL_PAGES:
        print("          (python run.py ui mlflow opens these pages)")
