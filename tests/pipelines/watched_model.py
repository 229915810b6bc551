"""A model with watchers, and small processes in place of the runs that they start."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.watch import Watcher
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.loop.training_runs import TrainingRun, TrainingRuns
from ratchet.settings import Settings
from ratchet.store.database import Store
from tests.store_rows import url_of


def python(program: str, *words: str) -> list[str]:
    """Return a Python command that starts in milliseconds."""
    return [sys.executable, "-I", "-S", "-c", program, *words]


# Ends a run of continuous training in the store.
END = """
import sys, time
url, state, outcome, _, number = sys.argv[1:]
if url.startswith("sqlite"):
    import sqlite3
    store, mark = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30), "?"
else:
    import psycopg2
    store, mark = psycopg2.connect(url), "%s"
with store:
    store.cursor().execute(
        "UPDATE training_runs SET state = ?, outcome = ?, version = '7', ended_at = ?"
        " WHERE id = ?".replace("?", mark),
        (state, outcome, time.time(), number),
    )
"""
SLEEP = python("import time; print('working', flush=True); time.sleep(600)")
REPORT = python("print('a report')")


@dataclass
class WatchedModel:
    """A model in its own home, its watchers, and the lines that they logged."""

    settings: Settings
    config: ContinuousTrainingConfig
    store: Store
    lines: list[str] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def runs(self) -> TrainingRuns:
        return TrainingRuns(self.store, self.config.model)

    def watcher(
        self, command: list[str], report: list[str] = REPORT, interval: float = 0.0, retention: tuple[str, ...] = ()
    ) -> Watcher:
        made = Watcher(self.config, self.settings, command, report, self.lines.append, interval, retention)
        self.watchers.append(made)
        return made

    def opened(self, watermark: int = 200) -> TrainingRun:
        """Open a run, as a trigger does."""
        run = self.runs.open(watermark, "config", "200 new labels")
        assert run is not None
        return run

    def ending(self, state: str, outcome: str = "as expected") -> list[str]:
        """Return a command that ends its run in a state."""
        return [sys.executable, *(["-I", "-S"] * self.store.is_sqlite), "-c", END, url_of(self.store), state, outcome]


def check_until(watcher: Watcher, condition: Callable[[], object]) -> None:
    """Check repeatedly, as the scheduler does, until a condition holds."""

    def check() -> object:
        watcher.check()
        return condition()

    until(check, 20)


def until(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def child_of(watcher: Watcher) -> int:
    assert watcher._training is not None
    return watcher._training.process.pid
