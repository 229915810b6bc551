"""The output of ``watch``: a line with the time for each event."""

from __future__ import annotations

import re
import sys
from datetime import datetime

from commands.console.formats import MEANING, Meaning, wide_console

_MEANING_OF: dict[Meaning, re.Pattern[str]] = {
    "promoted": re.compile(r": run \d+ promoted "),
    "refused": re.compile(r": run \d+ refused "),
    "failed": re.compile(r": run \d+ (failed|was killed|stopped)\b|; will retry$"),
}


def print_event(line: str, *, verbose: bool = False) -> None:
    """Print a line with the time, in the colour of its meaning.

    On a terminal it is cut to the width, unless ``verbose``. In a file or a pipe it is whole, and has the date.
    """
    now = datetime.now().astimezone()
    shown = f"{now:%H:%M:%S} {line}" if sys.stdout.isatty() and not verbose else f"{now:%Y-%m-%d %H:%M:%S} {line}"
    style = next((MEANING[name] for name, pattern in _MEANING_OF.items() if pattern.search(line)), None)
    wide_console().print(shown, style=style, no_wrap=not verbose, overflow="fold" if verbose else "ellipsis")
    sys.stdout.flush()
