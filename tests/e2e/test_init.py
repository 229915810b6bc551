"""``init`` on the command line: from a file to a version in Production in two commands."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from ratchet.config.files import load_config
from ratchet.settings import Settings
from tests.conftest import ROOT, Cli
from tests.e2e.test_cli import refused
from tests.terminal import WIDTHS, shown_by
from tests.training_runs import train_in

CASES = ROOT / "tests" / "cases"
TARGETS = {
    "zips": "claim",
    "releases": "state",
    "devices": "fault",
    "countries": "outcome",
    "disorders": "disorder",
    "names": "buys",
    "names_reserved": "buys",
    "names_twins": "y",
    "decimals": "clase",
    "numbered": "animal",
    "stores": "sales",
    "gaps": "load",
    "survey": "decision",
    "costs": "late",
}
# Cases that differ from all others in what init decides.
UNLIKE = ("devices", "decimals", "stores", "gaps")
# ``run.py`` with another folder for the configs that ``init`` writes.
ELSEWHERE = (
    "import sys, pathlib; sys.path.insert(0, '.');"
    " import run, commands.init; commands.init.ROOT = pathlib.Path(sys.argv.pop(1)); run.main()"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the configs that ``init`` writes and a run finds."""
    monkeypatch.setattr("commands.init.ROOT", tmp_path)
    monkeypatch.setattr("commands.request.ROOT", tmp_path)
    return tmp_path / "configs"


BAD = {
    "no header": ("1.5,u\n2.5,v\n" * 30, "label"),
    "one column": ("label\n" + "u\nv\n" * 30, "label"),
    "no target": ("a,b\n" + "1,u\n2,v\n" * 30, "label"),
    "one class": ("a,label\n" + "1,u\n2,u\n" * 30, "label"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_file_is_one_line_and_status_2_and_nothing_is_written(
    kind: str, here: Cli, folder: Path, tmp_path: Path
) -> None:
    text, target = BAD[kind]
    path = tmp_path / "data.csv"
    path.write_text(text)
    assert "data.csv" in refused(here("init", str(path), "--target", target)) or kind == "one class"
    assert not folder.exists()


def test_without_a_target_the_columns_are_named(here: Cli, folder: Path) -> None:
    assert "'zip', 'age', 'claim'" in refused(here("init", str(CASES / "zips.csv")))


def test_the_decisions_are_printed_with_their_reasons(here: Cli, folder: Path) -> None:
    result = here("init", str(CASES / "zips.csv"), "--target", "claim", "--name", "claims")
    assert result.returncode == 0, result.stderr
    for part in ("task", "the target is text", "'zip' as category: has digits with leading zeros", "roc_auc"):
        assert part in result.stdout
    assert "python run.py --config claims" in result.stdout
    assert sorted(path.name for path in (folder / "claims").iterdir()) == [
        *("baseline.yaml", "data_card.md", "variation_gradient_boosting.yaml", "variation_random_forest.yaml")
    ]
    assert "configs/claims exists" in refused(here("init", str(CASES / "zips.csv"), "-t", "claim", "--name", "claims"))


@pytest.mark.slow
def test_the_printed_command_puts_a_version_into_production(here: Cli, folder: Path) -> None:
    result = here("init", str(CASES / "zips.csv"), "--target", "claim", "--name", "two_commands")
    command = next(line for line in result.stdout.splitlines() if line.startswith("next")).split(maxsplit=1)[1]
    words = shlex.split(command)
    assert words[:2] == ["python", "run.py"]
    trained = here(*words[2:])
    assert trained.returncode == 0, trained.stderr
    assert "two_commands version 1, stage Production" in trained.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in UNLIKE else pytest.mark.exhaustive) for case in TARGETS]
)
def test_each_case_gets_a_version_into_production(case: str, here: Cli, folder: Path, settings: Settings) -> None:
    name = f"init_{case}"
    assert here("init", str(CASES / f"{case}.csv"), "--target", TARGETS[case], "--name", name).returncode == 0
    summary = train_in(settings, load_config(folder / name / "baseline.yaml"))
    assert (summary.promotion.outcome, summary.promotion.version) == ("promoted", "1"), summary.promotion.reason
    assert [warning for warning in summary.warnings if warning.startswith("column")] == []


@pytest.mark.slow
@pytest.mark.parametrize("case", ["survey", "stores"])
def test_the_variations_run(case: str, here: Cli, folder: Path, settings: Settings) -> None:
    name = f"init_variations_{case}"
    assert here("init", str(CASES / f"{case}.csv"), "--target", TARGETS[case], "--name", name).returncode == 0
    variations = sorted((folder / name).glob("variation_*.yaml"))
    assert len(variations) == 2
    for path in variations:
        assert train_in(settings, load_config(path)).promotion.version


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_screen_has_every_decision_and_no_line_is_cut(columns: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path), "init", str(CASES / "numbered.csv"), "-t", "animal"]
    screen = shown_by(command, columns=columns)
    assert screen.status == 0, screen.text
    assert screen.widest <= columns
    titles = [line.split()[0] for line in screen.lines if line[:1].strip()]
    assert titles[:3] == ["file", "target", "features"]
    assert titles[-2:] == ["written", "next"]
    assert "has no name, and another value in each row" in " ".join(screen.text.split())
