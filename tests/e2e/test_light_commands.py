"""Commands that read: what they import, and what a terminal of 80 and of 120 columns has of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from commands.console import formats, production
from pipelines.runner import RunSummary
from ratchet.experiments.comparison.table import compare
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.conftest import Cli

HEAVY = {"mlflow", "zenml", "pandas", "sklearn", "skops", "scipy", "alembic", "ratchet.config"}
CHANGES = [
    {
        "when": "2026-01-01T00:00:00+00:00",
        "kind": kind,
        "state": state,
        "from_version": "1",
        "to_version": "2",
        "actor": "ana",
        "reason": reason,
        "gate": gate,
    }
    for kind, state, reason, gate in (
        ("rollback", "completed", "complaints from the field, says the shift leader of hall 4", None),
        (
            "promote",
            "refused",
            "against_champion: worse",
            [{"name": "against_champion", "passed": False, "figure": 0.1}],
        ),
        ("promote", "completed", "floor passed", [{"name": "floor", "passed": True, "figure": None}]),
        ("moved", "completed", "outside", None),
        ("promote", "abandoned", "killed", None),
    )
]


@pytest.mark.sqlite("without the client, MLflow's artifacts have to be on this machine")
@pytest.mark.parametrize("command", ["status", "history", "doctor", "lineage 1", "--help"])
def test_a_command_that_reads_imports_no_library_that_takes_seconds(first: RunSummary, cli: Cli, command: str) -> None:
    model = () if command == "--help" else ("--model", "iris")
    if command == "doctor":
        cli(command, *model)  # which loads the package once, and records that it was verified
    result = cli(*command.split(" "), *model, PYTHONPROFILEIMPORTTIME="1")
    assert result.returncode == 0, result.stdout
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "typer" in imported
    assert not imported & HEAVY


@pytest.fixture(params=[80, 120])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal of a width."""
    from rich.console import Console

    width: int = request.param
    monkeypatch.setattr(
        production, "wide_console", lambda: Console(width=width, force_terminal=True, color_system=None)
    )
    assert formats.CARDS_BELOW == 100
    return width


def test_the_history_has_one_line_for_each_change(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    production.print_history(CHANGES, gate=False)
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["when", "what", "version", "who", "why"]
    assert len(rows) == len(CHANGES)
    assert max(map(len, rows)) <= columns
    assert [row[18:29].strip() for row in rows] == ["rolled back", "refused", "promoted", "moved", "abandoned"]
    assert rows[0].endswith("…" if columns == 80 else "leader of hall 4")
    assert rows[1].endswith("gate: against_champion failed")
    assert rows[2].endswith("gate: 1 checks passed")


def test_the_gate_of_each_change_is_printed_on_request(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    production.print_history(CHANGES, gate=True)
    output = " ".join(capsys.readouterr().out.split())
    assert "against_champion failed (0.1)" in output
    assert "complaints from the field, says the shift leader" in output


def test_a_rollback_is_no_reason_of_a_promotion(first: RunSummary, settings: Settings) -> None:
    pointer = ProductionPointer(settings, "iris")
    version = pointer.require_current()
    (before,) = [row.why for row in compare(settings, "iris").rows if row.version == version.version]
    for kind in ("rollback", "repair", "moved"):
        pointer.ledger.record(kind, "completed", version, before=None, reason="complaints", actor="ana")
    (row,) = [row for row in compare(settings, "iris").rows if row.version == version.version]
    assert row.why == before != "complaints"


def test_lineage_prints_promotions_as_a_table_and_the_config_as_yaml(first: RunSummary, here: Cli) -> None:
    output = here("lineage", "1", "--model", "iris").stdout
    assert "{" not in output.replace("columns: {}", "").replace("fill_values: {}", "")
    lines = output.splitlines()
    assert lines[lines.index("promotions") + 1].split() == ["when", "what", "version", "who", "why"]
    assert "  estimator: sklearn.linear_model.LogisticRegression" in lines


def test_status_ends_with_the_verdict(first: RunSummary, here: Cli) -> None:
    last = here("status", "--model", "iris").stdout.splitlines()[-1]
    assert last.startswith("iris is ")
    assert "healthy" in last
