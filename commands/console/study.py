"""A study on the terminal: its plan, a line while it runs, and the table at its end."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from ratchet.config import LOSSES
from ratchet.config.tuning import TuningConfig
from ratchet.experiments.tuning.summary import TrialRecord, best_of


class TrialLine:
    """One line a trial on standard error."""

    def __init__(self, config: TuningConfig) -> None:
        self._wanted, self._minimise = config.search.trials, config.evaluate.primary_metric in LOSSES
        self._metric = config.evaluate.primary_metric
        self._seen: list[TrialRecord] = []

    def tell(self, record: TrialRecord) -> None:
        """Say how a trial ended, and what the best is by now."""
        self._seen.append(record)
        value = "" if record.value is None else f" {self._metric} {record.value:.4f}"
        complete = any(trial.state == "complete" for trial in self._seen)
        best = best_of(self._seen, minimise=self._minimise) if complete else None
        so_far = "" if best is None else f", best {best.value:.4f} (trial {best.number})"
        took = f"{record.ended - record.began:.1f} s"
        text = f"trial {record.number} {record.state}{value} {took}, {len(self._seen)} of {self._wanted}{so_far}"
        print(f"  {text}", file=sys.stderr, flush=True)


def print_plan(config: TuningConfig, plan: Any, where: str) -> None:
    """The resolved config as YAML, and the plan as its comments: the space first."""
    print(f"# {where}, resolved")
    print(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False), end="")
    search, compute = config.search, config.compute
    print("# space:")
    for path, parameter in search.space.items():
        said = parameter.model_dump(mode="json", exclude_defaults=True)
        print(f"#   {path}: {', '.join(f'{key} {value}' for key, value in said.items())}")
    place = f" at {compute.address}" if compute.address else ""
    print("# plan: ingest → tune, then for the best: embed → train → evaluate → drift_check → promote")
    print(f"# trials: {plan.trials} of {search.folds} folds, {plan.batch} at a time, on {compute.engine}{place}")
    print(f"# sampler: {search.sampler.name}, pruner: {search.pruner.name}, seed {config.seed}")
    print(f"# baseline: {plan.baseline}")
    print(f"# study: {plan.study} in {plan.storage}")
    print(f"# data version: {plan.data_version}")


def print_study(done: Any) -> None:
    """The table that ends a study: what became of the trials, the best beside the baseline, and where it is."""
    from rich.console import Console
    from rich.table import Table

    study = done.study
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in _rows(study, done):
        table.add_row(title, text)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)
    print()


def _rows(study: Any, done: Any) -> list[tuple[str, str]]:
    best = study.best
    counts = ", ".join(f"{study.count(state)} {state}" for state in ("complete", "pruned", "failed"))
    found = f" ({study.new} in this run)" if study.new < len(study.trials) else ""
    short = "" if len(study.trials) >= study.wanted else f"; {study.wanted - len(study.trials)} are still to be made"
    baseline = study.baseline
    beside = "" if baseline.trial is not None else f"; {baseline.note}"
    value = "not scored" if baseline.value is None else _with_spread(baseline.value, baseline.folds)
    return [
        ("study", f"{study.study} in {study.storage}"),
        ("trials", f"{len(study.trials)}{found}: {counts}; {study.seconds:.1f} s on {study.engine}{short}"),
        (f"{study.metric}, validation", f"{_with_spread(best.value, best.folds)}, trial {best.number}"),
        ("  baseline", f"{value}{beside}"),
        *((f"  {path}", str(choice)) for path, choice in best.values.items()),
        ("config", f"{done.best_file}"),
        ("MLflow run", f"{done.mlflow_run_id}: trials, figures"),
    ]


def _with_spread(value: float, folds: Sequence[float]) -> str:
    """A mean of folds with its standard error, which is too small: the folds share rows to fit on."""
    error = statistics.stdev(folds) / math.sqrt(len(folds)) if len(folds) > 1 else 0.0
    return f"{value:.4f} ± {error:.4f} ({len(folds)} folds)"
