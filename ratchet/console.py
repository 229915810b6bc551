"""What a person sees on the terminal: live steps, the plan, and the table at the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable

_MARKS = {"started": "…", "finished": "✓", "cached": "✓", "failed": "✗"}


@contextmanager
def live_steps(names: tuple[str, ...]) -> Iterator[Callable[[str, str], None]]:
    """A listener for step events: a live display on a terminal, a plain line each elsewhere.

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
    begun: dict[str, float] = {}

    def listen(name: str, event: str) -> None:
        if event == "started":
            begun[name] = time.perf_counter()
            return
        seconds = f" {time.perf_counter() - begun[name]:.2f} s" if name in begun else ""
        print(f"{_MARKS[event]} {name} {event}{seconds}", file=sys.stderr, flush=True)

    return listen


@contextmanager
def _live_display(names: tuple[str, ...]) -> Iterator[Callable[[str, str], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description:<12}"), TimeElapsedColumn()
    with Progress(*columns, TextColumn("[dim]{task.fields[note]}"), console=Console(stderr=True)) as progress:
        tasks = {name: progress.add_task(name, total=1, start=False, note="") for name in names}

        def listen(name: str, event: str) -> None:
            if name not in tasks:
                return
            if event == "started":
                progress.start_task(tasks[name])
                return
            note = "" if event == "finished" else event
            progress.start_task(tasks[name])
            progress.update(tasks[name], completed=0 if event == "failed" else 1, note=note)
            progress.stop_task(tasks[name])

        yield listen


def print_plan(config: BaseModel, plan: Any, where: str) -> None:
    """The resolved config as YAML, and the plan as its comments."""
    print(f"# {where}, resolved")
    print(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False), end="")
    print(f"# plan: {' → '.join(plan.steps)}")
    print(f"# estimator: {plan.estimator}")
    print(f"# data version: {plan.data_version}")


def print_json(value: Any) -> None:
    """A value as JSON on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_summary(summary: Any) -> None:
    """The table that ends a run: figures, version and stage, where things are, times, and the next command."""
    from rich.console import Console
    from rich.table import Table

    evaluation, promotion = summary.evaluation, summary.promotion
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    interval = f"{evaluation.confidence:.0%} interval {evaluation.low:.4f} to {evaluation.high:.4f}"
    primary = f"{evaluation.primary:.4f}  ({interval}, {evaluation.n_rows} held-out rows)"
    table.add_row(evaluation.primary_metric, primary)
    for name, value in evaluation.metrics.items():
        if name != evaluation.primary_metric:
            table.add_row(f"  {name}", f"{value:.4f}")
    champion = "nothing" if promotion.champion is None else f"version {promotion.champion}"
    table.add_row("model", f"{summary.config.model} version {promotion.version}, stage {promotion.stage}")
    table.add_row("decision", f"{promotion.outcome}: {promotion.reason}")
    table.add_row("in Production", champion)
    table.add_row("drift", summary.drift.summary)
    table.add_row("steps", ", ".join(_step(step) for step in summary.steps))
    table.add_row("MLflow run", f"{summary.mlflow_run_id} in {summary.tracking_uri}")
    table.add_row("ZenML run", f"{summary.run_name} ({summary.zenml_run_id})")
    table.add_row("files", f"{summary.exports}/model.joblib, metrics.json")
    table.add_row("next", _next_command(summary))
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


def _step(step: Any) -> str:
    return f"{step.name} cached" if step.status == "cached" else f"{step.name} {step.seconds:.2f} s"


def _next_command(summary: Any) -> str:
    if summary.promotion.outcome == "promoted" and summary.promotion.version == "1":
        return "python run.py --config variation_svm.yaml"
    return f"mlflow ui --backend-store-uri {summary.tracking_uri}   (experiment {summary.config.model})"
