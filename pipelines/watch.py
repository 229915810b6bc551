"""The scheduler on one machine: checks the triggers at an interval, and runs continuous training when one fires.

Each hour it starts retention, if the settings limit what is kept.

A run is another process, started with the command that a user would type. The open run is in the store, so that
the run and the watcher can be killed independently of each other.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.errors import RatchetError, StateError, one_line
from ratchet.loop.decisions import Decider
from ratchet.loop.machines import register_at_start
from ratchet.loop.retention import NOTHING_PAST_LIMITS, Limits
from ratchet.loop.training_runs import TrainingRun
from ratchet.settings import Settings, prepare_home

logger = logging.getLogger(__name__)

# Seconds that a child process has to end after SIGTERM.
_GRACE = 20.0
# Seconds until a line is printed again that differs in its numbers alone.
_REPEAT_AFTER = 60.0
# The longest pause, in seconds, after a run that ended with an error.
_LONGEST_PAUSE = 60.0
# Seconds from one start of retention to the next.
_RETENTION_EVERY = 3600.0


@dataclass
class _Child:
    """A child process and its log file."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else "no output"


class Watcher:
    """Checks the triggers, and starts at most one run at a time.

    Parameters
    ----------
    command: the command of one run.
    report: the command of a report.
    log: receives the lines for the user.
    interval: seconds between checks, stored with the heartbeat; 0 for a single check.
    retention: the command of retention; none starts none.
    brief: whether a decision is logged without the details of its triggers.
    """

    def __init__(
        self,
        config: ContinuousTrainingConfig,
        settings: Settings,
        command: Sequence[str],
        report: Sequence[str],
        log: Callable[[str], None],
        interval: float = 0.0,
        retention: Sequence[str] = (),
        brief: bool = False,
    ) -> None:
        self._config = config
        self._folder = prepare_home(settings) / "watch"
        self._folder.mkdir(exist_ok=True)
        self._command, self._report = command, report
        self._retention = retention if Limits.of(settings).are_set else ()
        self._log, self._interval, self._brief = log, interval, brief
        self._last_line, self._repeat_at, self._has_started = "", 0.0, False
        self._paused_until, self._failures = 0.0, 0
        self._decider = Decider(config, settings)
        self._run: TrainingRun | None = None
        self._training: _Child | None = None
        self._reporting: _Child | None = None
        self._retaining: _Child | None = None

    def check(self) -> None:
        """Check once; an error that a user can fix, such as an unreachable registry, is logged."""
        try:
            self.check_or_raise()
        except RatchetError as error:
            self._log_once(f"{self._config.model}: {one_line(error)}; will retry")

    def check_or_raise(self) -> None:
        """Check once, and start a run if one is wanted.

        Raises
        ------
        RatchetError: MLflow or the store cannot be read; nothing was decided.
        """
        if self._interval and not self._has_started:
            self._has_started = True
            self._decider.beat(self._interval, checked=False)
        self._reap()
        self._retain_when_due()
        if self._training is not None or time.monotonic() < self._paused_until:
            self._decider.beat(self._interval)
            return
        decision = self._decider.decide()
        # After the decision: a watcher that cannot decide, as without MLflow, must not appear to work.
        self._decider.beat(self._interval)
        self._log_once(decision.brief if self._brief else decision.line)
        if decision.run is not None:
            self._run = decision.run
            number = str(decision.run.id)
            self._training = self._start(f"run {number}", [*self._command, "--run", number])

    def wait(self) -> bool:
        """Wait for the run, its report and retention; return whether neither the run nor its report failed."""
        while child := self._training or self._reporting or self._retaining:
            child.process.wait()
            self._reap()
        run = self._current_run()
        if run is not None and run.state == "open":
            return self._decider.holder() is not None  # another process makes it
        return run is None or run.state != "failed"

    def stop(self) -> None:
        """Stop the child processes; the next watcher resumes the run."""
        for child in (self._training, self._reporting, self._retaining):
            if child is not None:
                child.stop()
        self._training = self._reporting = self._retaining = None

    def _current_run(self) -> TrainingRun | None:
        return self._run and self._decider.runs.get(self._run.id)

    def _reap(self) -> None:
        """Log the end of child processes, and start the report of a run."""
        if self._training is not None and self._training.has_ended:
            child, self._training = self._training, None
            self._end_run(child)
        if self._reporting is not None and self._reporting.has_ended:
            child, self._reporting = self._reporting, None
            outcome = "the report was drawn" if child.process.returncode == 0 else child.last_line()
            self._log(f"{self._config.model}: {outcome}")
        if self._retaining is not None and self._retaining.has_ended:
            child, self._retaining = self._retaining, None
            if (line := child.last_line()) != NOTHING_PAST_LIMITS:
                self._log(f"retention: {line}")

    def _retain_when_due(self) -> None:
        """Start retention if none has started in this home for an hour; that it cannot start is only logged."""
        log = self._folder / "retention.log"
        try:
            if not self._retention or self._retaining is not None or _age(log) < _RETENTION_EVERY:
                return
            log.unlink(missing_ok=True)  # its time tells when retention started; it has the last output alone
            self._retaining = self._start("retention", self._retention)
        except (OSError, StateError) as error:
            self._log_once(f"retention: {one_line(error)}; will retry")

    def _end_run(self, child: _Child) -> None:
        model, status, run = self._config.model, child.process.returncode, self._current_run()
        if run is None or run.state == "open":
            cause = f"was killed by signal {-status}" if status < 0 else f"stopped: {child.last_line()}"
            self._log(f"{model}: {child.name} {cause}; it will be resumed")
            # A killed run is resumed at once; the cause of an error can last.
            self._failures = 0 if status < 0 else self._failures + 1
            self._paused_until = time.monotonic() + min(2.0**self._failures - 1, _LONGEST_PAUSE)
            return
        self._failures = 0
        self._log(f"{model}: run {run.id} {run.state} version {run.version or 'none'}: {run.outcome}")
        if self._config.report and run.state in ("promoted", "refused") and self._reporting is None:
            self._reporting = self._start(f"report {run.id}", self._report)

    def _start(self, name: str, command: Sequence[str]) -> _Child:
        log = self._folder / f"{name.replace(' ', '-')}.log"
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        except OSError as error:
            raise StateError(f"{name} cannot be started ({log}): {error.strerror}") from None
        return _Child(name, process, log)

    def _log_once(self, line: str) -> None:
        """Log a line, unless the last one was the same; if only numbers differ, log it a minute later."""
        without_numbers = re.sub(r"\d[\d.]*", "#", line)
        if without_numbers != self._last_line or time.monotonic() > self._repeat_at:
            self._log(line)
            self._last_line, self._repeat_at = without_numbers, time.monotonic() + _REPEAT_AFTER


def _age(path: Path) -> float:
    """Return the seconds since a file was written; infinite if there is none, or if it is from the future."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf
    return age if age >= 0 else math.inf


def watch(
    config: ContinuousTrainingConfig,
    settings: Settings,
    command: Sequence[str],
    report: Sequence[str],
    log: Callable[[str], None],
    *,
    once: bool,
    retention: Sequence[str] = (),
    brief: bool = False,
) -> bool:
    """Watch until SIGTERM or Ctrl-C, or check once and wait for the processes that this starts.

    Parameters
    ----------
    config, settings, command, report, log, retention, brief: as for ``Watcher``.

    Returns
    -------
    Whether no run failed.

    Raises
    ------
    RatchetError: the single check failed.
    """
    register_at_start(settings, keeps_rows=True)
    interval = 0.0 if once else config.triggers.interval
    watcher = Watcher(config, settings, command, report, log, interval, retention, brief)
    if once:
        watcher.check_or_raise()
        return watcher.wait()
    # SimpleQueue.put is reentrant; Event.set in a signal handler can wait for a lock that its own thread holds.
    stops: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):  # a check in progress ends before the watcher stops
        signal.signal(number, lambda received, _: stops.put(received))
    log(f"watching {config.model} every {interval:g} s (process {os.getpid()}); Ctrl-C stops it")
    try:
        stopped = False
        while not stopped:
            try:
                watcher.check()
            except Exception:  # the next check can succeed
                logger.exception("a check of %s failed", config.model)
            with contextlib.suppress(queue.Empty):
                stopped = bool(stops.get(timeout=interval))
        log("stopping")
    finally:
        watcher.stop()
    return True
