"""The command compare."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from pipelines.runner import RunSummary
from ratchet.settings import Settings
from ratchet.tracking import connect
from tests.conftest import Cli
from tests.e2e.test_cli import refused


@pytest.fixture
def shell(first: RunSummary, here: Cli) -> Cli:
    """The command, in this process and in a home where the baseline has run."""
    return partial(here, "compare")


def test_it_prints_table_places_and_link(shell: Cli, tmp_path: Path) -> None:
    result = shell("--model", "iris", "--output", str(tmp_path))
    assert result.returncode == 0, result.stderr
    for part in ("f1_macro", "(more is better)", "in Production", " ms", " kB", "/#/compare-runs?runs=%5B%22"):
        assert part in result.stdout
    assert "run.py ui mlflow" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} >= {"comparison.md", "comparison.png"}


def test_json_has_costs_and_the_mlflow_run(shell: Cli, settings: Settings) -> None:
    found = json.loads(shell("--model", "iris", "--json").stdout)
    row = next(row for row in found["rows"] if row["in_production"])
    assert row["training_seconds"] > 0
    assert row["package_bytes"] > 10_000
    assert 0 < row["latency_ms"] < 100
    assert row["low"] < row["value"] <= row["high"]
    assert connect(settings).get_run(found["logged"]).info.run_name == "comparison"
    assert json.loads(shell("--model", "iris", "--json", "--no-log").stdout)["logged"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "irsi"), "there is no model 'irsi'; did you mean 'iris'"),
        (("--model", "iris", "--metric", "f1_makro"), "no run has the metric 'f1_makro'; did you mean 'f1_macro'?"),
        (("--model", "iris", "--no-log", "--output", str(Path(__file__))), "--output: cannot write to "),
    ],
)
def test_an_impossible_comparison_is_one_line_and_status_2(shell: Cli, words: tuple[str, ...], message: str) -> None:
    assert message in refused(shell(*words))
