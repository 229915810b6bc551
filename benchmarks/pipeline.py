"""What a pipeline run costs beside what ZenML and MLflow cost anyway.

Run as ``.venv/bin/python benchmarks/pipeline.py [--rounds N]``. Every side is a whole process, from its start to its
exit, in the same environment, with a home of its own in a scratch folder; the warm-up makes the stores, so that the
timed rounds find them there:

- **warm**: ``run.py --config baseline.yaml --no-cache``;
- **cached**: ``run.py --config baseline.yaml``, where each step that may be cached is (evaluate, drift_check and
  promote never are: they write this run's figures and ask for the champion of the moment);
- **floor**: ``floor.py``, six empty steps on the same stack, with the libraries imported and nothing done to them;
- **floor, product's startup**: the same with the measures of ``pipelines/startup.py``, to show what these save and
  what Ratchet's own work costs; no target;
- **help**: ``run.py --help``;
- **status**, **history**, **doctor**: these commands, in a home with the baseline in Production.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from measure import ROOT, Command, Target, Timing, describe_machine, in_turn, rounds_asked_for, run_once, write_result
from rich.console import Console
from rich.table import Table
from table import targets_table

WARM, CACHED, FLOOR, TUNED_FLOOR, HELP = "warm", "cached", "floor", "floor, product's startup", "help"
STATUS, HISTORY, DOCTOR = "status", "history", "doctor"
IMPORTS = ("zenml", "mlflow", "sklearn", "skops.io", "skl2onnx", "onnxruntime", "matplotlib.figure", "pandera.pandas")
IMPORT_ROUNDS = 3
STEPS = ("ingest", "embed", "train", "evaluate", "drift_check", "promote")
CACHEABLE = ("ingest", "embed", "train")
VERSIONS_OF = ("zenml", "mlflow", "scikit-learn")

_FOREIGN = ("RATCHET_", "MLFLOW_", "ZENML_")
_STEP_LINE = re.compile(r"^✓ (?P<name>\w+) (?P<event>finished|cached)(?: (?P<seconds>[\d.]+) s)?$", re.MULTILINE)
_QUIET = """
import json, os
from ratchet.settings import quiet_environment
quiet_environment()
print(json.dumps(dict(os.environ)))
"""
_IMPORT = "import time; started = time.perf_counter(); import {0}; print('{0} took', time.perf_counter() - started)"

_READING = {HELP: "--help", STATUS: STATUS, HISTORY: HISTORY, DOCTOR: DOCTOR}

Environment = dict[str, str]
StepSeconds = dict[str, float | None]


def main() -> None:
    """Measure, write the result, and print it."""
    rounds = rounds_asked_for(__doc__)
    with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
        scratch = Path(folder)
        environment = _environment(scratch)
        timings = in_turn(_commands(environment, scratch), rounds, scratch)
        steps = {name: _step_medians(name, timings[name]) for name in (WARM, CACHED)}
        imports = _import_medians(environment, scratch)
    targets = _targets(timings)
    more = {"versions": _versions(), "processes": _processes(timings), "steps_s": steps, "imports_s": imports}
    path = write_result("pipeline", describe_machine(), rounds, targets, **more)
    _print(timings, steps, imports, targets)
    print(f"written: {path.relative_to(ROOT)}")


def _environment(scratch: Path) -> Environment:
    """One environment for every side: as quiet as the product makes it, and no store or server of the user's own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    own |= {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(scratch / "config")}
    return dict(json.loads(run_once(Command("environment", (sys.executable, "-c", _QUIET), own), scratch)[1]))


def _commands(environment: Environment, scratch: Path) -> list[Command]:
    script, floor = str(ROOT / "run.py"), str(ROOT / "benchmarks" / "floor.py")
    sides = {
        WARM: (script, "--config", "baseline.yaml", "--no-cache"),
        CACHED: (script, "--config", "baseline.yaml"),
        FLOOR: (floor,),
        TUNED_FLOOR: (floor, "--product-startup"),
        HELP: (script, "--help"),
        **{name: (script, name) for name in (STATUS, HISTORY, DOCTOR)},
    }
    # The commands that read take turns after the cached runs, in their home.
    folders = {name: f"side-{number}" for number, name in enumerate(sides)}
    folders |= dict.fromkeys((STATUS, HISTORY, DOCTOR), folders[CACHED])
    return [
        Command(name, (sys.executable, *words), environment | _home(scratch / folders[name]))
        for name, words in sides.items()
    ]


def _home(folder: Path) -> Environment:
    return {"RATCHET_HOME": str(folder / "home"), "RATCHET_MODELS_DIR": str(folder / "models")}


def _step_medians(name: str, timing: Timing) -> StepSeconds:
    """The median seconds of each step over the timed rounds, None where it came from the cache.

    Raises
    ------
    RuntimeError: a round did not do the work that it was timed for.
    """
    runs = [_steps_of(output) for output in timing.outputs]
    cached = CACHEABLE if name == CACHED else ()
    expected = {step: step in cached for step in STEPS}
    for run in runs:
        if {step: seconds is None for step, seconds in run.items()} != expected:
            raise RuntimeError(f"{name}: expected all of {STEPS}, and cached {cached or 'none'}; got {run}")
    return {step: None if step in cached else _median(run[step] for run in runs) for step in STEPS}


def _steps_of(output: str) -> StepSeconds:
    """What the run's own plain lines say: ``✓ ingest finished 0.43 s``, ``✓ embed cached``."""
    return {found["name"]: float(s) if (s := found["seconds"]) else None for found in _STEP_LINE.finditer(output)}


def _median(values: Iterable[float | None]) -> float:
    return round(statistics.median(value for value in values if value is not None), 4)


def _import_medians(environment: Environment, scratch: Path) -> dict[str, float]:
    """Seconds that ``import`` takes in a fresh interpreter, with all that the library itself imports."""
    alone = environment | {"ZENML_CONFIG_PATH": str(scratch / "imports")}
    probes = [Command(name, (sys.executable, "-c", _IMPORT.format(name)), alone) for name in IMPORTS]
    timings = in_turn(probes, IMPORT_ROUNDS, scratch)
    return {name: _median(_import_seconds(name, output) for output in timings[name].outputs) for name in IMPORTS}


def _import_seconds(name: str, output: str) -> float:
    found = re.search(rf"^{re.escape(name)} took (\S+)$", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"import {name}: no time in its output:\n{output[-4000:]}")
    return float(found[1])


def _targets(timings: Mapping[str, Timing]) -> list[Target]:
    floor = timings[FLOOR].median
    return [
        Target("warm baseline run / floor", timings[WARM].median / floor, 1.5, "at_most", "×"),
        Target("fully cached re-run / floor", timings[CACHED].median / floor, 1.2, "at_most", "×"),
        *(Target(f"run.py {name}", timings[key].median, 1.0, "at_most", "s") for key, name in _READING.items()),
    ]


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in VERSIONS_OF}


def _processes(timings: Mapping[str, Timing]) -> dict[str, dict[str, Any]]:
    """Each side's median, its ratio to both floors, and every round, for the result file."""
    floor, tuned = timings[FLOOR].median, timings[TUNED_FLOOR].median
    return {
        name: {
            "median_s": round(timing.median, 4),
            "to_floor": round(timing.median / floor, 4),
            "to_floor_with_product_startup": round(timing.median / tuned, 4),
            "rounds_s": [round(seconds, 4) for seconds in timing.seconds],
        }
        for name, timing in timings.items()
    }


def _print(
    timings: Mapping[str, Timing],
    steps: Mapping[str, StepSeconds],
    imports: Mapping[str, float],
    targets: list[Target],
) -> None:
    console = Console(highlight=False)
    result = {"script": "pipeline", "targets": [target.as_dict() for target in targets]}
    measured = _process_table(timings), _step_table(timings, steps), _import_table(imports)
    for table in (*measured, targets_table([result])):
        console.print(table)


def _process_table(timings: Mapping[str, Timing]) -> Table:
    headings = "process", "median s", "min … max s", "to floor", "to tuned"
    table = _figures("Whole processes, from start to exit", *headings)
    floor, tuned = timings[FLOOR].median, timings[TUNED_FLOOR].median
    for name, timing in timings.items():
        spread = f"{min(timing.seconds):.2f} … {max(timing.seconds):.2f}"
        ratios = f"{timing.median / floor:.2f} ×", f"{timing.median / tuned:.2f} ×"
        table.add_row(name, f"{timing.median:.2f}", spread, *ratios)
    table.caption = "tuned: the floor with the product's startup"
    return table


def _step_table(timings: Mapping[str, Timing], steps: Mapping[str, StepSeconds]) -> Table:
    table = _figures("Steps, median seconds", "step", *steps)
    for step in STEPS:
        table.add_row(step, *("cached" if (s := side[step]) is None else f"{s:.2f}" for side in steps.values()))
    outside = (timings[name].median - sum(s or 0.0 for s in side.values()) for name, side in steps.items())
    table.add_row("outside the steps", *(f"{seconds:.2f}" for seconds in outside))
    return table


def _import_table(imports: Mapping[str, float]) -> Table:
    table = _figures("Imports, each alone in a fresh interpreter", "library", "median s")
    table.caption = "they share dependencies, so they do not add up"
    for name, seconds in imports.items():
        table.add_row(name, f"{seconds:.2f}")
    return table


def _figures(title: str, first: str, *others: str) -> Table:
    """An empty table with a column of names and columns of figures."""
    table = Table(first, title=title)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


if __name__ == "__main__":
    main()
