"""The console of the commands: tables, cards, fields, colours, links, times and JSON on standard output.

A terminal gets colours, and lines that fit its width. A file or a pipe gets plain text without wrapping.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.segment import Segment
    from rich.table import Table
    from rich.text import Text

# A table that does not fit a terminal with fewer columns is printed as cards.
CARDS_BELOW = 100
Meaning = Literal["promoted", "refused", "failed", "detail"]
MEANING: dict[Meaning, str] = {"promoted": "green", "refused": "yellow", "failed": "red", "detail": "dim"}
# Cells of at most this many characters are not wrapped.
_SHORT = 24
_GAP = 2
# A column with room for fewer characters is not cropped: its rows become cards.
_LEAST = 12
# No line of a file or a pipe is longer.
_UNLIMITED = 1_000_000
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
# Longer ago than this many seconds, a date is clearer than a number of days.
_LONG_AGO = 14 * 86_400


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def wide_console() -> Console:
    """Return a console for standard output: as wide as the terminal, or without a limit in a file or a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _UNLIMITED
    return Console(highlight=False, markup=False, emoji=False, width=width)


def field_table(rows: Iterable[tuple[str, str | Text]] = ()) -> Trimmed:
    """Return a table of titles and values."""
    return Trimmed(_fields(rows))


def _fields(rows: Iterable[tuple[str, str | Text]]) -> Table:
    from rich.table import Table

    fields = Table(show_header=False, box=None, pad_edge=False, padding=(0, _GAP))
    fields.add_column(style="bold", no_wrap=True)
    fields.add_column(overflow="fold")
    for title, value in rows:
        fields.add_row(title, _printable(value))
    return fields


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Collection[str] = (),
    cropped: str | None = None,
) -> Rows:
    """Return rows under a header; below 100 columns, rows that do not fit on a line become cards.

    Parameters
    ----------
    columns: their titles.
    rows: a cell for each column; an empty one is left out of a card.
    right: the titles of the columns that are aligned to the right, such as numbers.
    cropped: the title of the column that ends with an ellipsis where a row does not fit, so that it stays on a line.
    """
    return Rows(columns, [[_printable(cell) for cell in row] for row in rows], right, cropped)


class Trimmed:
    """A renderable without the spaces at the ends of its lines."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        for line in console.render_lines(self._shown, options, pad=False):
            yield from _without_end(line)


class Rows:
    """A table that Rich prints as a table or as cards, as ``table`` returns it."""

    def __init__(
        self, columns: Sequence[str], rows: list[list[Text]], right: Collection[str], cropped: str | None
    ) -> None:
        self._columns, self._rows, self._right = columns, rows, right
        self._cropped = columns.index(cropped) if cropped else None
        cells = [[title, *(row[at].plain for row in rows)] for at, title in enumerate(columns)]
        self._widths = [_widest(line for cell in column for line in cell.splitlines()) for column in cells]
        self._words = [_widest(word for cell in column for word in cell.split()) for column in cells]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table or the cards."""
        width = options.max_width
        yield Trimmed(self._as_cards() if self._folds(width) else self._as_table(width))

    def _folds(self, width: int) -> bool:
        gaps = _GAP * (len(self._columns) - 1)
        if self._cropped is not None:
            return self._left_for_cropped(width) < _LEAST
        needed = (whole if whole <= _SHORT else word for whole, word in zip(self._widths, self._words, strict=True))
        return sum(self._widths) + gaps > width and (width < CARDS_BELOW or sum(needed) + gaps > width)

    def _left_for_cropped(self, width: int) -> int:
        others = sum(whole for at, whole in enumerate(self._widths) if at != self._cropped)
        return width - others - _GAP * (len(self._columns) - 1)

    def _as_table(self, width: int) -> Table:
        from rich.table import Table

        shown = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
        for at, (title, whole) in enumerate(zip(self._columns, self._widths, strict=True)):
            side: Literal["left", "right"] = "right" if title in self._right else "left"
            shown.add_column(title, no_wrap=whole <= _SHORT or at == self._cropped, overflow="fold", justify=side)
        for row in self._rows:
            shown.add_row(*(self._crop(cell, width) if at == self._cropped else cell for at, cell in enumerate(row)))
        return shown

    def _crop(self, cell: Text, width: int) -> Text:
        line = cell.copy()
        line.truncate(self._left_for_cropped(width), overflow="ellipsis")
        return line

    def _as_cards(self) -> RenderableType:
        from rich.console import Group

        title_width = _widest(self._columns)
        cards: list[RenderableType] = []
        for row in self._rows:
            card = _fields((title, cell) for title, cell in zip(self._columns, row, strict=True) if cell.plain)
            card.columns[0].width = title_width
            card.padding = (0, _GAP, 0, 0)
            cards += ["", card] if cards else [card]
        return Group(*cards)


def coloured(text: str, meaning: Meaning) -> Text:
    """Return a text in the colour of its meaning."""
    from rich.text import Text

    return Text(text, style=MEANING[meaning])


def link(text: str, url: str) -> Text:
    """Return a text that a terminal opens as a URL; a terminal without hyperlinks, a file and a pipe get the text."""
    from rich.style import Style
    from rich.text import Text

    return Text(text, style=Style(link=url))


def local_time(seconds: float) -> str:
    """Return a Unix time in the local time zone: ``2026-01-31 18:00``."""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def ago(seconds: float, now: float | None = None) -> str:
    """Return how long ago a Unix time was: ``3 min ago``; the local time where it is over two weeks or in the future.

    Parameters
    ----------
    now: Unix time; by default that of this machine.
    """
    passed = (time.time() if now is None else now) - seconds
    if not -60 < passed < _LONG_AGO:
        return local_time(seconds)
    for unit, size in _UNITS:
        if passed >= size:
            return f"{passed // size:.0f} {unit} ago"
    return "just now"


def _printable(cell: str | Text) -> Text:
    """Return a cell as text in which control characters, such as those of a terminal, are replaced."""
    from rich.text import Text

    if isinstance(cell, Text):
        return cell
    return Text("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in cell))


def _widest(texts: Iterable[str]) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, texts), default=0)


def _without_end(line: list[Segment]) -> Iterable[Segment]:
    from rich.segment import Segment

    while line and not line[-1].text.strip():
        line.pop()
    if line:
        last = line.pop()
        line.append(Segment(last.text.rstrip(), last.style))
    return [*line, Segment.line()]
