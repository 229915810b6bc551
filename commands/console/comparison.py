"""The output of ``compare`` on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from commands.console.formats import Meaning, coloured, table, wide_console
from ratchet.experiments.comparison import text
from ratchet.experiments.comparison.link import LOCAL_PAGES, pages_of
from ratchet.experiments.comparison.table import Comparison, Row
from ratchet.settings import Settings

if TYPE_CHECKING:
    from rich.text import Text

_MEANING: dict[str, Meaning] = {"refused": "refused", "failed": "failed"}


def print_comparison(comparison: Comparison) -> None:
    """Print a row for each config, with that in Production in green, and below it the reasons and notes."""
    names = text.short_names(comparison.parameters)
    rows: list[list[str | Text]] = [
        [*(cell.replace("\n", ", ") for cell in text.cells(row, names)[:-1]), _verdict(row)] for row in comparison.rows
    ]
    console = wide_console()
    console.print(table(text.titles(comparison), rows))
    for line in text.conclusions(comparison):
        console.print(line)


def _verdict(row: Row) -> Text:
    return coloured(row.verdict, "promoted" if row.in_production else _MEANING.get(row.verdict.split(":")[0], "detail"))


def print_places(settings: Settings, comparison: Comparison, files: Iterable[Path], run: str | None) -> None:
    """Print where the comparison is: its files, its MLflow run if it was logged, and its URL in MLflow's pages."""
    for path in files:
        print(f"file      {path}")
    if run:
        print(f"logged    MLflow run {run} in {settings.tracking_place}")
    print(f"in MLflow {comparison.url}")
    if pages_of(settings) == LOCAL_PAGES:
        print("          (python run.py ui mlflow opens these pages)")
