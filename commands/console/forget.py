"""The output of ``forget``, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from commands.console.formats import local_time, table, wide_console

if TYPE_CHECKING:
    from ratchet.loop.forget.erase import Found
    from ratchet.loop.forget.outlook import Outlook
    from ratchet.store.erasures import Erasure

_WIDTH = 79


def print_found(model: str, found: Found, left: Outlook) -> None:
    """Print how many predictions match, where their features are, and what is out of reach."""
    if not found.ids:
        print(f"{model}: no prediction with features matches; there is nothing to remove")
        return
    print(f"{model}: {_predictions(len(found.ids))} with features match")
    for place, count in found.places.items():
        print(f"  {place:<12} {count}")
    _print_left(left)


def print_done(erasure: Erasure, left: Outlook) -> None:
    """Print what was removed, which versions were trained on it, and what was not reached."""
    print(f"{erasure.model}: the features of {_predictions(erasure.n_predictions)} are removed (erasure {erasure.id})")
    _print_left(left)


def print_history(entries: list[Erasure]) -> None:
    """Print the ledger of erasures, newest first."""
    if not entries:
        print("no erasure is recorded")
        return
    titles = ("erasure", "when", "rows", "selected by", "found in", "versions", "who")
    wide_console().print(table(titles, map(_cells, entries), right=("rows",)))


def _cells(entry: Erasure) -> tuple[str, ...]:
    places = ", ".join(f"{name} {count}" for name, count in entry.places.items() if count)
    state = "" if entry.state == "completed" else f" ({entry.state})"
    return (
        f"{entry.id}{state}",
        local_time(entry.created_at),
        str(entry.n_predictions),
        entry.selection,
        places,
        ", ".join(entry.versions) or "-",
        entry.actor,
    )


def _print_left(left: Outlook) -> None:
    if not left.trained:
        print("no version was trained on them")
    else:
        print(f"trained on some of them: {', '.join(left.trained)}")
        current = f"version {left.in_production} is in Production" if left.in_production else "none is in Production"
        print(f"  {current}")
        for title, command in zip(("train again:", "if the gate refuses the new version:"), left.retrain, strict=False):
            print(f"  {title}\n    {command}")
    print("not reached:")
    _print_items(left.not_reached)


def _print_items(lines: Iterable[str]) -> None:
    for line in lines:
        print(textwrap.fill(line, _WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False))


def _predictions(count: int) -> str:
    return f"{count} prediction{'' if count == 1 else 's'}"
