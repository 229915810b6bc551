"""The metrics of a run beside the last run's, as the job's log and GitLab's report have them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

from tests.conftest import ROOT


def write(path: Path, **metrics: float) -> str:
    path.write_text(json.dumps({"metrics": metrics, "seed": 42}))
    return str(path)


def report(folder: Path, now: str, previous: str) -> tuple[str, dict[str, float]]:
    """What is printed, and what GitLab reads."""
    output = folder / "metrics.txt"
    command = [sys.executable, "deploy/gitlab/metrics_report.py", now, "--previous", previous]
    done = subprocess.run(
        [*command, "--openmetrics", str(output)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout, {family.name: family.samples[0].value for family in parse(output.read_text())}


def cells(table: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]


def test_each_metric_stands_beside_what_it_was(tmp_path: Path) -> None:
    previous = write(tmp_path / "previous.json", f1_macro=0.91, log_loss=0.25)
    printed, read = report(tmp_path, write(tmp_path / "now.json", f1_macro=0.94, log_loss=0.25), previous)
    assert cells(printed) == [
        ["Metric", "previous", "now", "Change"],
        ["f1_macro", "0.91", "0.94", "0.03"],
        ["log_loss", "0.25", "0.25", "0"],
    ]
    assert read == {"ratchet_smoke_f1_macro": 0.94, "ratchet_smoke_log_loss": 0.25}


def test_the_first_run_says_that_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    printed, read = report(tmp_path, write(tmp_path / "now.json", r2=-0.5), str(tmp_path / "previous.json"))
    assert printed.splitlines()[0] == "no earlier run to compare with"
    assert cells(printed)[1:] == [["r2", "-", "-0.5", "-"]]
    assert read == {"ratchet_smoke_r2": -0.5}
