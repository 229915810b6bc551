"""The line with which a command ends early, on standard error."""

from __future__ import annotations

import sys

from commands.console.formats import MEANING


def print_error(message: str) -> None:
    """Print an error in one line; a terminal breaks it between words."""
    if not sys.stderr.isatty():
        print(f"error: {message}", file=sys.stderr)
        return
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, highlight=False).print(Text.assemble(("error:", MEANING["failed"]), f" {message}"))


def was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C has caused an error: libraries replace the KeyboardInterrupt, or fail while they end."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        # ZenML raises its own error in place of a KeyboardInterrupt in a step.
        if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "RunInterruptedException":
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
