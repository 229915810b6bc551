"""The metrics of a run beside the last run's: a table in the job's log, and a file for GitLab's metrics report.

``python deploy/gitlab/metrics_report.py metrics.json --previous previous.json --openmetrics metrics.txt``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def metrics_of(path: Path) -> dict[str, float]:
    """The figures of a ``metrics.json``, as `run.py` exports it: its section ``metrics``, by name."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return {name: float(value) for name, value in sorted(found.items())}


def report(
    now: Annotated[Path, typer.Argument(help="metrics.json of this run.")],
    previous: Annotated[Path, typer.Option(help="metrics.json of the last run; it need not be there.")],
    openmetrics: Annotated[Path, typer.Option(help="Where GitLab's report is written, in OpenMetrics' text format.")],
) -> None:
    """Print ``previous → now`` for each metric with DVC's table, and write what GitLab compares."""
    from dvc.compare import show_diff
    from dvc.utils.diff import diff
    from prometheus_client import CollectorRegistry, Gauge
    from prometheus_client.openmetrics.exposition import generate_latest

    figures = metrics_of(now)
    before = metrics_of(previous) if previous.exists() else {}
    if not before:
        typer.echo("no earlier run to compare with")
    table = diff({"": {"data": before}}, {"": {"data": figures}}, with_unchanged=True)
    show_diff(table, title="Metric", no_path=True, markdown=True, precision=4, a_rev="previous", b_rev="now")
    registry = CollectorRegistry()
    for name, value in figures.items():
        Gauge(f"ratchet_smoke_{name}", f"{name} on the holdout of the smoke training", registry=registry).set(value)
    openmetrics.write_bytes(generate_latest(registry))


if __name__ == "__main__":
    typer.run(report)
