"""The output of a pipeline run on the terminal: its plan, and the table at its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.console.formats import Meaning, coloured, field_table, link, wide_console
from ratchet.config import Section
from ratchet.config.plain_yaml import write_yaml

if TYPE_CHECKING:
    from rich.text import Text

    from ratchet.data.first_rows import CheckedRows

# Warnings about a data set on the terminal.
_MOST_WARNINGS = 10
# Of the outcomes of the gate; others have no colour.
_MEANINGS: dict[str, Meaning] = {"promoted": "promoted", "refused": "refused"}


def print_plan(config: Section, plan: Any, where: str, checked: CheckedRows) -> None:
    """Print the resolved config as YAML, with the plan as its comments."""
    print(f"# {where}, resolved")
    print(write_yaml(config.to_plain(exclude_none=True)), end="")
    print(f"# plan: {' → '.join(plan.steps)}")
    print(f"# estimator: {plan.estimator}")
    print_checked(plan.data_version, checked)


def print_checked(data_version: str, checked: CheckedRows) -> None:
    """Print the data version, what was checked of the data, and the warnings, as comments of a plan."""
    print(f"# data version: {data_version}")
    print(f"# data: {checked}")
    for warning in checked.warnings:
        print(f"# data warning: {warning}")


def print_summary(summary: Any) -> None:
    """Print the table of a training run: metrics, version and stage, locations, times, and the next command."""
    from rich.text import Text

    evaluation, promotion = summary.evaluation, summary.promotion
    interval = f"{evaluation.confidence:.0%} interval {evaluation.low:.4f} to {evaluation.high:.4f}"
    primary = f"{evaluation.primary:.4f}  ({interval}, {evaluation.n_rows} held-out rows)"
    others = [name for name in evaluation.metrics if name != evaluation.primary_metric]
    run = link(summary.mlflow_run_id, summary.mlflow_url)
    repair = f"{_python()} run.py doctor --repair --model {summary.config.model}"
    champion = "nothing" if promotion.champion is None else f"version {promotion.champion}"
    table = field_table(
        [
            (evaluation.primary_metric, primary),
            *((f"  {name}", f"{evaluation.metrics[name]:.4f}") for name in others),
            ("model", f"{summary.config.model} version {promotion.version}, stage {promotion.stage}"),
            ("decision", _decision(promotion)),
            *(("warning", f"{warning}; write it with {repair}") for warning in promotion.warnings),
            ("in Production", champion),
            ("drift", summary.drift.summary),
            *(("data warning", line) for line in shown_warnings(summary.warnings)),
            ("steps", ", ".join(_step(step) for step in summary.steps)),
            (
                "MLflow run",
                Text.assemble(run, f" in {summary.tracking_uri}"),
            ),
            ("ZenML run", f"{summary.run_name} ({summary.zenml_run_id})"),
            ("files", f"{summary.exports}/model.joblib, metrics.json"),
            ("next", _next_command(summary)),
        ]
    )
    wide_console().print(table)


def shown_warnings(lines: Sequence[str]) -> Iterator[str]:
    """Yield the first warnings about a data set, and how many more there are."""
    yield from lines[:_MOST_WARNINGS]
    if len(lines) > _MOST_WARNINGS:
        yield f"{len(lines) - _MOST_WARNINGS} more in data_warnings.json of the MLflow run"


def print_continuous(ended: Any) -> None:
    """Print how a run of continuous training ended: its pipeline's table, or why there was nothing to run."""
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


def _decision(promotion: Any) -> Text:
    from rich.text import Text

    outcome = promotion.outcome
    return Text.assemble(
        coloured(outcome, _MEANINGS[outcome]) if outcome in _MEANINGS else outcome, f": {promotion.reason}"
    )


def _next_command(summary: Any) -> str:
    """Return the command that serves a first version, or that compares a further one with the others of its model."""
    first = summary.promotion.outcome == "promoted" and summary.promotion.version == "1"
    return f"{_python()} run.py {'serve' if first else 'compare'} --model {summary.config.model}"


def _python() -> str:
    """Return the interpreter's command: its name where its environment is active, else its path."""
    path = Path(sys.executable)
    if os.environ.get("VIRTUAL_ENV") == sys.prefix or not path.is_relative_to(Path.cwd()):
        return "python"
    return str(path.relative_to(Path.cwd()))
