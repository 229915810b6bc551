"""The scheduler on one machine: looks at the store again and again, and runs continuous training when it is time.

A run is a process of its own, the very command that a person would type. Whatever of the two is killed, the other one
goes on: what is to be done stands in the store.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.errors import RatchetError, StateError, one_line
from ratchet.loop.decisions import Decider
from ratchet.loop.training_runs import TrainingRun
from ratchet.settings import Settings, prepare_home

# Seconds for a run to end when watch is told to stop.
_GRACE = 20.0
# Seconds until a line that differs in its numbers alone is told again.
_SAME_AGAIN = 60.0
# Seconds between attempts at a run that MLflow or the store keeps from its end.
_LONGEST_PAUSE = 60.0


def say(line: str) -> None:
    """Tell a person, with the time."""
    sys.stdout.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {line}\n")
    sys.stdout.flush()


@dataclass
class _Job:
    """A process that was begun, and the file for what it prints."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    file: IO[bytes]

    def end(self) -> None:
        """Have the process end, gently at first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.file.close()

    def last_line(self) -> str:
        lines = self.output.read_text(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else "it said nothing"


class Watcher:
    """Looks, and runs what is wanted, one run at a time.

    Parameters
    ----------
    config: triggers and limits.
    settings: where things are.
    command: the words that run the pipeline once, and those that write a report.
    tell: takes a line for a person.
    interval: seconds from one look to the next, as the heartbeat promises it; 0 promises none.
    """

    def __init__(
        self,
        config: ContinuousTrainingConfig,
        settings: Settings,
        command: Sequence[str],
        report: Sequence[str],
        tell: Callable[[str], None] = say,
        interval: float = 0.0,
    ) -> None:
        self._config = config
        self._folder = prepare_home(settings) / "watch"
        self._folder.mkdir(exist_ok=True)
        self._command, self._report = list(command), list(report)
        self._tell, self._interval = tell, interval
        self._said, self._again, self._promised = "", 0.0, False
        self._pause, self._failures = 0.0, 0
        self._decider = Decider(config, settings)
        self._run: TrainingRun | None = None
        self._training: _Job | None = None
        self._reporting: _Job | None = None

    def look(self) -> None:
        """Look once; what is in the way, as a registry that is down, is told and looked at again next time."""
        try:
            self.step()
        except RatchetError as error:
            self._say_once(f"{self._config.model}: {one_line(error)}; tried again later")

    def step(self) -> None:
        """Look once, and begin a run where one is wanted.

        Raises
        ------
        RatchetError: MLflow or the store cannot be read; nothing was decided.
        """
        if self._interval and not self._promised:
            self._promised = True
            self._decider.beat(self._interval, looked=False)
        self._reap()
        if self._training is not None or time.monotonic() < self._pause:
            self._decider.beat(self._interval)
            return
        decision = self._decider.decide()
        # Only now: of a watcher that cannot decide, as without MLflow, nobody shall think that it watches.
        self._decider.beat(self._interval)
        self._say_once(decision.line)
        if decision.run is not None:
            self._run = decision.run
            self._training = self._begin(f"run {decision.run.id}", [*self._command, "--run", str(decision.run.id)])

    def wait(self) -> bool:
        """Wait for the run that was begun, and its report; whether all went well."""
        for job in (self._training, self._reporting):
            if job is not None:
                job.process.wait()
                self._reap()
        if self._reporting is not None:
            self._reporting.process.wait()
            self._reap()
        run = self._run and self._decider.runs.get(self._run.id)
        if run is not None and run.state == "open":
            return self._decider.holder() is not None  # somebody else makes it
        return run is None or run.state != "failed"

    def stop(self) -> None:
        """End what was begun; a run that is ended here is picked up by the next who watches."""
        for job in (self._training, self._reporting):
            if job is not None:
                job.end()
        self._training = self._reporting = None

    def _reap(self) -> None:
        """Say how a run that has ended went, and begin its report."""
        if self._training is not None and self._training.process.poll() is not None:
            job, self._training = self._training, None
            job.file.close()
            self._tell_end(job)
        if self._reporting is not None and self._reporting.process.poll() is not None:
            job, self._reporting = self._reporting, None
            job.file.close()
            status = job.process.returncode
            self._tell(f"{self._config.model}: {'the report is written' if status == 0 else job.last_line()}")

    def _tell_end(self, job: _Job) -> None:
        model, status = self._config.model, job.process.returncode
        run = self._run and self._decider.runs.get(self._run.id)
        if run is None or run.state == "open":
            how = f"was killed by signal {-status}" if status < 0 else f"did not end: {job.last_line()}"
            self._tell(f"{model}: {job.name} {how}; it is picked up again")
            # One that was killed goes on at once; what was in the way of the other may take a while.
            self._failures = 0 if status < 0 else self._failures + 1
            self._pause = time.monotonic() + min(2.0**self._failures - 1, _LONGEST_PAUSE)
            return
        self._failures = 0
        self._tell(f"{model}: run {run.id} {run.state} version {run.version or 'none'}: {run.outcome}")
        if self._config.report and run.state in ("promoted", "refused") and self._reporting is None:
            self._reporting = self._begin(f"report {run.id}", self._report)

    def _begin(self, name: str, command: Sequence[str]) -> _Job:
        output = self._folder / f"{name.replace(' ', '-')}.log"
        try:
            file = output.open("ab")
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)  # noqa: S603
        except OSError as error:
            raise StateError(f"{name} cannot be begun ({output}): {error.strerror}") from None
        return _Job(name, process, output, file)

    def _say_once(self, line: str) -> None:
        """Tell a line if it says something else than the one before, or only other numbers, and that a minute later."""
        said = re.sub(r"\d[\d.]*", "#", line)
        if said != self._said or time.monotonic() > self._again:
            self._tell(line)
            self._said, self._again = said, time.monotonic() + _SAME_AGAIN


def watch(
    config: ContinuousTrainingConfig, settings: Settings, command: Sequence[str], report: Sequence[str], *, once: bool
) -> bool:
    """Watch until told to stop, or look once and wait for what that began.

    Returns
    -------
    Whether all went well.

    Raises
    ------
    RatchetError: looking once, what is in the way.
    """
    from apscheduler.schedulers.blocking import BlockingScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    interval = 0.0 if once else config.triggers.interval
    watcher = Watcher(config, settings, command, report, interval=interval)
    if once:
        watcher.step()
        return watcher.wait()
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler: Any = BlockingScheduler()
    every = IntervalTrigger(seconds=config.triggers.interval)
    scheduler.add_job(watcher.look, every, next_run_time=datetime.now().astimezone(), coalesce=True)
    signal.signal(signal.SIGTERM, _interrupt)
    say(f"watching {config.model} every {config.triggers.interval:g} s (process {os.getpid()}); Ctrl-C ends it")
    try:
        scheduler.start()
    except (KeyboardInterrupt, SystemExit):
        say("told to stop")
    finally:
        # A look that is under way may still begin a run, which then has to be ended too.
        if scheduler.running:
            scheduler.shutdown()
        watcher.stop()
    return True


def _interrupt(*_: Any) -> None:
    raise SystemExit
