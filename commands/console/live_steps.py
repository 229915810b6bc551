"""The steps of a pipeline run while it runs: a live display on a terminal, otherwise one line for each event."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from commands.console.formats import MEANING

if TYPE_CHECKING:
    from rich.progress import Progress

_MARKS = {"waiting": " ", "started": "…", "finished": "✓", "cached": "✓", "failed": "✗", "stopped": "✗"}
_STYLES = {
    "finished": MEANING["promoted"],
    "cached": MEANING["promoted"],
    "failed": MEANING["failed"],
    "stopped": MEANING["failed"],
}


@contextmanager
def live_steps(names: tuple[str, ...]) -> Iterator[Callable[[str, str], None]]:
    """Yield a listener for step events.

    What is printed inside the block scrolls above the display; a result table belongs after the block.

    Parameters
    ----------
    names: the steps in their order.
    """
    if sys.stderr.isatty():
        with _live_display(names) as listener:
            yield listener
    else:
        yield _plain_lines()


def _plain_lines() -> Callable[[str, str], None]:
    started: dict[str, float] = {}

    def listen(name: str, event: str) -> None:
        if event == "started":
            started[name] = time.perf_counter()
            return
        seconds = f" {time.perf_counter() - started[name]:.2f} s" if name in started else ""
        print(f"{_MARKS[event]} {name} {event}{seconds}", file=sys.stderr, flush=True)

    return listen


@contextmanager
def _live_display(names: tuple[str, ...]) -> Iterator[Callable[[str, str], None]]:
    with _progress(max(map(len, names))) as progress:
        tasks = {name: progress.add_task(name, start=False, event="waiting") for name in names}

        def listen(name: str, event: str) -> None:
            if name not in tasks:
                return
            progress.start_task(tasks[name])
            if event != "started":
                progress.stop_task(tasks[name])
            progress.update(tasks[name], event=event)

        try:
            yield listen
        except BaseException:
            for task in progress.tasks:
                if task.fields["event"] == "started":
                    listen(task.description, "stopped")
            raise
        finally:  # steps of which none has begun are removed
            progress.live.transient = all(task.fields["event"] == "waiting" for task in progress.tasks)


def _progress(width: int) -> Progress:
    """Return a display with a line for each step: a mark, the name, the seconds, and the event if it is unusual."""
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.spinner import Spinner
    from rich.text import Text

    spinner = Spinner("dots")

    class Step(ProgressColumn):
        def render(self, task: Task) -> Text:
            event = task.fields["event"]
            mark = str(spinner.render(task.get_time())) if event == "started" else _MARKS[event]
            seconds = "" if task.elapsed is None or event == "cached" else f"{task.elapsed:6.1f} s"
            note = event if event in ("cached", "failed", "stopped") else ""
            return Text.assemble((mark, _STYLES.get(event, "")), f" {task.description:<{width}}{seconds}  {note}")

    return Progress(Step(), console=Console(stderr=True))
