"""The output of retention."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from commands.console.formats import table, wide_console
from ratchet.loop.retention import NOTHING_PAST_LIMITS

if TYPE_CHECKING:
    from ratchet.loop.retention.mover import Moved
    from ratchet.loop.retention.retain import Outcome

_FILES = "files"


def print_outcome(outcome: Outcome, *, dry_run: bool) -> None:
    """Print what leaves or has left, by table and model, what stays and why, and a line with the result."""
    if outcome.moved:
        rows = [
            (moved.kind.replace("_", " "), moved.model or _FILES, f"{moved.rows:,}", _day(moved), in_words(moved.size))
            for moved in outcome.moved
        ]
        wide_console().print(table(("kind", "model", "number", "oldest", "size"), rows, right=("number", "size")))
    for note in outcome.notes:
        print(note)
    print(_result(outcome, dry_run=dry_run))


def in_words(size: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _day(moved: Moved) -> str:
    return "-" if moved.oldest is None else f"{datetime.fromtimestamp(moved.oldest, UTC):%Y-%m-%d}"


def _result(outcome: Outcome, *, dry_run: bool) -> str:
    given_back = f"the store's file is {in_words(outcome.given_back)} smaller" if outcome.given_back else ""
    if not outcome.action:
        off = "nothing leaves: neither RATCHET_RETENTION_DAYS nor RATCHET_RETENTION_ROWS is set"
        return f"{off}; {given_back}" if given_back else off
    if not outcome.moved:
        return given_back or NOTHING_PAST_LIMITS
    rows = sum(moved.rows for moved in outcome.moved if moved.model)
    files = sum(moved.rows for moved in outcome.moved if not moved.model)
    to = f"moved into {outcome.archive}" if outcome.action == "archive" else "deleted"
    verb = "would be " if dry_run else ""
    parts = [f"{_counted(rows, 'row')} {verb}{to}"] if rows else []
    parts += [f"{_counted(files, 'file')} {verb}deleted"] if files else []
    return "; ".join([*parts, given_back] if given_back else parts)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
