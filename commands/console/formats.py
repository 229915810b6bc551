"""Tables and JSON on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def field_table(rows: Iterable[tuple[str, str]] = ()) -> Table:
    """Return a table of titles and values."""
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in rows:
        table.add_row(title, text)
    return table


def column_table(titles: Iterable[str], *, no_wrap: Iterable[str]) -> Table:
    """Return an empty table with a header; the columns in ``no_wrap`` keep their width."""
    from rich.table import Table

    kept = set(no_wrap)
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for title in titles:
        table.add_column(title, no_wrap=title in kept, overflow="fold")
    return table


def wide_console() -> Console:
    """Return a console for standard output: the terminal's width, or 160 columns in a file or a pipe."""
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
