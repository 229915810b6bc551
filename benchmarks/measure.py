"""What every benchmark shares: processes timed in turn, targets, and the file that keeps the result.

A benchmark is a script, run as ``.venv/bin/python benchmarks/<script>.py``; Python then finds this module beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
TIMEOUT = 600.0


@dataclass(frozen=True)
class Command:
    """One side of a comparison: a process, and the whole environment that it runs in."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True)
class Timing:
    """The timed rounds of one command: wall seconds from the process's start to its exit, and what it printed."""

    seconds: tuple[float, ...]
    outputs: tuple[str, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds, in seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Target:
    """A figure that was measured, and the limit that it was asked to keep."""

    name: str
    value: float
    limit: float
    direction: Literal["at_most", "at_least"]
    unit: str

    @property
    def met(self) -> bool:
        """Whether the figure keeps the limit."""
        return self.value <= self.limit if self.direction == "at_most" else self.value >= self.limit

    def as_dict(self) -> dict[str, Any]:
        """The target as it stands in a result file."""
        return {**asdict(self), "value": round(self.value, 4), "met": self.met}


def rounds_asked_for(description: str | None, default: int = 5) -> int:
    """Read ``--rounds N`` from the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=default, metavar="N", help=f"timed rounds (default: {default})")
    rounds: int = parser.parse_args().rounds
    if rounds < 1:
        parser.error(f"argument --rounds: got {rounds}, expected at least 1")
    return rounds


def in_turn(commands: Sequence[Command], rounds: int, cwd: Path) -> dict[str, Timing]:
    """Run each command once to warm up, then all of them one after the other (A B C A B C …), ``rounds`` times.

    In turn, so that a machine that is busier for a while is so for every side.

    Returns
    -------
    The timings by the commands' names.

    Raises
    ------
    RuntimeError: a command did not exit with status 0; nothing is worth comparing then.
    """
    for command in commands:
        _note(command, "warm-up", run_once(command, cwd)[0])
    runs: dict[str, list[tuple[float, str]]] = {command.name: [] for command in commands}
    for number in range(1, rounds + 1):
        for command in commands:
            runs[command.name].append(run_once(command, cwd))
            _note(command, f"round {number} of {rounds}", runs[command.name][-1][0])
    return {name: Timing(*zip(*timed, strict=True)) for name, timed in runs.items()}


def run_once(command: Command, cwd: Path) -> tuple[float, str]:
    """Run a command to its end.

    Returns
    -------
    Wall seconds from start to exit, and all that it printed.

    Raises
    ------
    RuntimeError: its exit status is not 0.
    """
    started = time.perf_counter()
    done = subprocess.run(
        command.argv,
        cwd=cwd,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{command.name} ended with status {done.returncode}:\n{done.stdout[-4000:]}")
    return seconds, done.stdout


def _note(command: Command, what: str, seconds: float) -> None:
    print(f"{what}: {command.name} {seconds:.2f} s", file=sys.stderr, flush=True)


def describe_machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that names this machine or its folders."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu_count": os.cpu_count(),
        "cpu_model": _cpu_model(),
        "memory_gib": round(memory / 2**30, 1),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def write_result(
    script_name: str, machine: Mapping[str, Any], rounds: int, targets: Sequence[Target], **more: Any
) -> Path:
    """Write ``benchmarks/results/<script_name>.json``, whole or not at all.

    Parameters
    ----------
    script_name: the benchmark's file name without its ending.
    machine: see `describe_machine`.
    rounds: how many rounds were timed.
    targets: one for each target of the issue that asked.
    more: what else a reader should see, such as the medians behind the ratios.
    """
    result = {
        "script": script_name,
        "measured": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "machine": dict(machine),
        "rounds": rounds,
        "targets": [target.as_dict() for target in targets],
        **more,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{script_name}.json"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return path
