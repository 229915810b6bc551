"""A study on the terminal: its plan, a line for each trial, and the table at its end."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from commands.console.formats import field_table, link, wide_console
from commands.console.runs import print_checked
from ratchet.config import LOSSES
from ratchet.config.plain_yaml import write_yaml
from ratchet.config.tuning import TuningConfig
from ratchet.experiments.tuning.summary import TrialRecord, best_of

if TYPE_CHECKING:
    from ratchet.data.first_rows import CheckedRows


class TrialLines:
    """Prints a line for each trial on standard error."""

    def __init__(self, config: TuningConfig) -> None:
        self._wanted, self._minimise = config.search.trials, config.evaluate.primary_metric in LOSSES
        self._metric = config.evaluate.primary_metric
        self._ended = 0
        self._best: TrialRecord | None = None

    def print_trial(self, record: TrialRecord) -> None:
        """Print how a trial ended, and the best trial so far."""
        self._ended += 1
        if record.state == "complete":
            candidates = [record] if self._best is None else [self._best, record]
            self._best = best_of(candidates, minimise=self._minimise)
        value = "" if record.value is None else f" {self._metric} {record.value:.4f}"
        so_far = "" if self._best is None else f", best {self._best.value:.4f} (trial {self._best.number})"
        took = f"{record.ended - record.began:.1f} s"
        text = f"trial {record.number} {record.state}{value} {took}, {self._ended} of {self._wanted}{so_far}"
        print(f"  {text}", file=sys.stderr, flush=True)


def print_plan(config: TuningConfig, plan: Any, where: str, checked: CheckedRows) -> None:
    """Print the resolved config as YAML, and the space and the plan as its comments."""
    print(f"# {where}, resolved")
    print(write_yaml(config.to_plain(exclude_none=True)), end="")
    search, compute = config.search, config.compute
    print("# space:")
    for path, parameter in search.space.items():
        fields = parameter.to_plain(exclude_defaults=True)
        print(f"#   {path}: {', '.join(f'{key} {value}' for key, value in fields.items())}")
    place = f" at {compute.address}" if compute.address else ""
    print("# plan: ingest → tune, then for the best: embed → train → evaluate → drift_check → promote")
    print(f"# trials: {plan.trials} of {search.folds} folds, {plan.batch} at a time, on {compute.engine}{place}")
    print(f"# sampler: {search.sampler.name}, pruner: {search.pruner.name}, seed {config.seed}")
    print(f"# baseline: {plan.baseline}")
    print(f"# study: {plan.study} in {plan.storage}")
    print_checked(plan.data_version, checked)


def print_study(done: Any) -> None:
    """Print the table of a study: the trials, the best and the baseline, and where the results are."""
    from rich.text import Text

    run = Text.assemble(link(done.mlflow_run_id, done.mlflow_url), ": trials, figures")
    wide_console().print(field_table([*_rows(done.study, done), ("MLflow run", run)]))
    print()


def _rows(study: Any, done: Any) -> list[tuple[str, str]]:
    best = study.best
    counts = ", ".join(f"{study.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    found = f" ({study.new} in this run)" if study.new < len(study.trials) else ""
    short = "" if len(study.trials) >= study.wanted else f"; {study.wanted - len(study.trials)} are missing"
    baseline = study.baseline
    note = "" if baseline.trial is not None else f"; {baseline.note}"
    value = "not scored" if baseline.value is None else _with_spread(baseline.value, baseline.folds)
    return [
        ("study", f"{study.study} in {study.storage}"),
        ("trials", f"{len(study.trials)}{found}: {counts}; {study.seconds:.1f} s on {study.engine}{short}"),
        (f"{study.metric}, validation", f"{_with_spread(best.value, best.folds)}, trial {best.number}"),
        ("  baseline", f"{value}{note}"),
        *((f"  {path}", str(choice)) for path, choice in best.values.items()),
        ("config", f"{done.best_file}"),
    ]


def _with_spread(value: float, folds: Sequence[float]) -> str:
    """Return a mean of folds with its standard error, which is too small since the folds share rows to fit on."""
    error = statistics.stdev(folds) / math.sqrt(len(folds)) if len(folds) > 1 else 0.0
    return f"{value:.4f} ± {error:.4f} ({len(folds)} folds)"
