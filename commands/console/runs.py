"""What a person sees on the terminal: live steps, the plan, and the table at the end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    evaluation, promotion = summary.evaluation, summary.promotion
    table = _table()
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
    _wide_console().print(table)


def print_continuous(ended: Any) -> None:
    """How a run of continuous training ended: its pipeline's table, or the reason why there was nothing to run."""
    run = ended.run
    if ended.pipeline is not None:
        print_summary(ended.pipeline)
        print(f"continuous training run {run.id} (watermark {run.watermark}): {ended.rows}")
    else:
        print(
            f"nothing to run: continuous training run {run.id} took the labels of {run.model} up to watermark"
            f" {run.watermark} already and was {run.state} ({run.when}): {run.outcome}"
        )


def _step(step: Any) -> str:
    return f"{step.name} cached" if step.status == "cached" else f"{step.name} {step.seconds:.2f} s"


def _next_command(summary: Any) -> str:
    if summary.promotion.outcome == "promoted" and summary.promotion.version == "1":
        return f"{_python()} run.py --config variation_svm.yaml"
    served = summary.tracking_uri.startswith("http")
    look = f"open {summary.tracking_uri}" if served else f"mlflow ui --backend-store-uri {summary.tracking_uri}"
    return f"{look}   (experiment {summary.config.model})"


def _python() -> str:
    """The interpreter as a person types it here: its name alone where its environment is active."""
    path = Path(sys.executable)
    if os.environ.get("VIRTUAL_ENV") == sys.prefix or not path.is_relative_to(Path.cwd()):
        return "python"
    return str(path.relative_to(Path.cwd()))


def print_fields(values: dict[str, Any]) -> None:
    """One thing as a table of its fields; nested fields are indented, what is missing is a dash."""
    table = _table()
    _add_fields(table, values, "")
    _wide_console().print(table)


def print_history(entries: list[dict[str, Any]]) -> None:
    """The ledger, newest first: when, what, from, to, who, why, and the gate's figures."""
    table = _table(header=True)
    for title in ("when", "what", "from", "to", "who", "why", "gate"):
        table.add_column(title, no_wrap=title in ("when", "from", "to"), overflow="fold")
    for entry in entries:
        what = entry["kind"] if entry["state"] == "completed" else f"{entry['kind']} ({entry['state']})"
        versions = (entry["from_version"] or "-", entry["to_version"])
        table.add_row(entry["when"], what, *versions, entry["actor"], entry["reason"], _gate(entry["gate"] or []))
    _wide_console().print(table)


def print_findings(found: list[Any], left: list[Any], *, repaired: bool) -> None:
    """What the doctor found, what was or can be done, and what is left after a repair."""
    if not found:
        print("nothing is wrong")
    for finding in found:
        print(f"{finding.code}: {finding.explanation}")
        if not finding.repair:
            print("  nothing is done by itself: a person has to look")
        elif not repaired:
            print(f"  repair: {finding.repair}")
        else:
            print(f"  {'not repaired' if finding.code in {f.code for f in left} else 'repaired'}: {finding.repair}")
    if not repaired and any(finding.repair for finding in found):
        print("mend it with: python run.py doctor --repair")


def print_reproduction(result: Any) -> None:
    """Whether a version came out the same, what differs, and what has changed since."""
    verdict = "identical" if result.identical else "not identical"
    print(f"{result.model} version {result.version}: {verdict}")
    for title in ("differences", "changed", "notes"):
        for line in getattr(result, title):
            print(f"  {title.rstrip('s')}: {line}")


def _add_fields(table: Any, values: dict[str, Any], indent: str) -> None:
    for name, value in values.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            table.add_row(title, "")
            _add_fields(table, value, f"{indent}  ")
        elif isinstance(value, list):
            table.add_row(title, "" if value else "-")
            for item in value:
                table.add_row(
                    "", ", ".join(f"{k}: {v}" for k, v in item.items()) if isinstance(item, dict) else str(item)
                )
        else:
            table.add_row(title, "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value))


def _gate(checks: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{check['name']} {'passed' if check['passed'] else 'failed'}"
        + (f" ({check['figure']:.4g})" if check["figure"] is not None else "")
        for check in checks
    )


def _table(*, header: bool = False) -> Any:
    from rich.table import Table

    table = Table(show_header=header, box=None, pad_edge=False, padding=(0, 2))
    if not header:
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
    return table


def _wide_console() -> Any:
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
