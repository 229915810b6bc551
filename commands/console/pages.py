"""The table of links to the pages that ``ui`` serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from commands.console.formats import MEANING, Meaning, Rows, coloured, link, table, wide_console
from commands.page_servers import Page

if TYPE_CHECKING:
    from rich.text import Text


class PageTable:
    """Links on standard output: a table that changes while servers start, or, in a pipe, one that is printed once.

    A page that is not shown leaves the table, and has its line below.
    """

    def __init__(self) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self._starting: dict[Page, None] = {}
        self._ready: list[Page] = []
        self._pages: list[Page] = []
        self._left_out: list[str] = []
        self._console = wide_console()
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=8)

    def add(self, page: Page) -> None:
        """Add a page whose server is going to start."""
        self._pages.append(page)
        self._starting[page] = None

    def leave_out(self, name: str, reason: str) -> None:
        """Add the reason why a page is not shown."""
        self._left_out.append(f"{name} is not shown: {reason}")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table from the start of the servers."""
        if self._pages and self._console.is_terminal:
            self._live.start()
        if not self._pages:
            self._finish()
        try:
            yield
        finally:
            self._live.stop()

    def ready(self, page: Page) -> None:
        """Show that a page answers."""
        self._ready.append(page)
        self._decide(page)

    def ended(self, page: Page, reason: str) -> None:
        """Show that the server of a page has ended."""
        if page in self._ready:
            self._line(f"{page.name} is no longer shown: {reason}", "failed")
            return
        self._pages.remove(page)
        self.leave_out(page.name, reason)
        self._decide(page)

    def _decide(self, page: Page) -> None:
        self._starting.pop(page)
        if not self._starting:
            self._finish()

    def _finish(self) -> None:
        if self._live.is_started:
            self._live.stop()
        elif self._pages:
            self._console.print(self._table())
        for line in self._left_out:
            self._line(line, "refused")
        if any(page.command for page in self._pages):
            self._console.print("Ctrl-C ends all of them.")

    def _line(self, text: str, meaning: Meaning) -> None:
        self._console.print(text, style=MEANING[meaning])

    def _table(self) -> Rows:
        return table(["page", "address", "shows"], [self._row(page) for page in self._pages])

    def _row(self, page: Page) -> tuple[str | Text, ...]:
        if page in self._starting:
            return page.name, coloured(page.url, "detail"), f"{self._spinner.render(time.monotonic())} starting"
        return page.name, link(page.url, page.url + page.start), page.shows


@contextmanager
def starting(name: str) -> Iterator[Callable[[], None]]:
    """Show on a terminal that a server is starting, until the block ends or the returned function is called."""
    from rich.console import Console

    status = Console(stderr=True, highlight=False).status(f"starting {name}")
    with status:
        yield status.stop
