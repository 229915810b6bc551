"""Commands that read create nothing, and name the home in which they found nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Cli

PREDICTION = "00000000-0000-4000-8000-000000000000"
WITHOUT_MODEL = (
    "status",
    "status --json",
    "history",
    "lineage 1",
    f"lineage {PREDICTION}",
    "doctor",
    "compare",
    "report",
    "reproduce 1",
    "predict rows.csv",
    "promote 1 --reason x",
    "rollback --reason x",
)
WITHOUT_HOME = (
    "--help",
    "schema",
    "--config baseline --dry-run",
    "--config continuous_training --dry-run",
    "--config reporting --dry-run",
    "--config iris/tuning --dry-run",
    "data --config baseline --check",
)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Cli) -> Cli:
    """The command line in an empty folder, without a setting that names the home."""
    for name in [name for name in os.environ if name.startswith(("RATCHET_", "MLFLOW_TRACKING", "ZENML_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return here


@pytest.mark.parametrize("command", WITHOUT_MODEL)
def test_without_a_model_a_command_names_the_home_and_creates_nothing(command: str, elsewhere: Cli) -> None:
    result = elsewhere(*command.split(" "))
    message = (
        f"error: no model is registered in {Path.cwd()}/.ratchet (set RATCHET_HOME, or run in the project's folder"
    )
    assert (result.returncode, result.stderr.splitlines()[-1][: len(message)]) == (2, message)
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("command", WITHOUT_HOME)
def test_what_needs_no_home_creates_none(command: str, elsewhere: Cli) -> None:
    result = elsewhere(*command.split(" "))
    assert result.returncode == (2 if "--check" in command else 0), result.stderr
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("pages", ["mlflow", "zenml", "evidently", ""])
def test_pages_of_nothing_are_refused_with_a_line_for_each_and_create_nothing(pages: str, elsewhere: Cli) -> None:
    result = elsewhere("ui", *pages.split())
    assert result.returncode == 2
    assert (result.stdout + result.stderr).count(".ratchet") == (1 if pages else 4)
    assert (result.stdout + result.stderr).count("\n") == (1 if pages else 5)
    assert list(Path.cwd().iterdir()) == []


def test_a_registry_in_a_file_that_is_missing_is_not_created(elsewhere: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/other.db")
    assert "other.db (MLFLOW_TRACKING_URI)" in elsewhere("status").stderr
    assert list(Path.cwd().iterdir()) == []
