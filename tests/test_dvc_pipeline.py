"""What dvc.yaml, dvc.lock and .dvc/config say has to be true of the repository."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.config.files import load_config
from ratchet.data import dataset_version
from ratchet.model.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
LOCK: dict[str, Any] = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
CASES: list[str] = STAGES["data"]["matrix"]["case"]


def config(case: str) -> Any:
    return load_config(ROOT / "configs" / case / "baseline.yaml")


def test_every_stage_is_there_for_every_use_case() -> None:
    assert all(stage["matrix"]["case"] == CASES for stage in STAGES.values())
    assert set(LOCK) == {f"{stage}@{case}" for stage in STAGES for case in CASES}


@pytest.mark.parametrize("case", CASES)
def test_a_use_case_is_called_the_same_everywhere(case: str) -> None:
    loaded = config(case)
    assert (loaded.model, loaded.dataset.name) == (case, case)


@pytest.mark.parametrize("case", CASES)
def test_the_hash_that_dvc_records_is_the_data_version_of_runs(case: str) -> None:
    outs = LOCK[f"data@{case}"]["outs"]
    assert [(out["path"], out["md5"]) for out in outs] == [(f"data/{case}.csv", dataset_version(config(case).dataset))]


@pytest.mark.parametrize("case", CASES)
def test_the_figures_in_git_are_those_that_dvc_has_recorded(case: str) -> None:
    recorded = {out["path"]: out["md5"] for out in LOCK[f"evaluate@{case}"]["outs"]}
    from ratchet.data.fingerprint import file_version

    assert file_version(ROOT / "metrics" / f"{case}.json") == recorded[f"metrics/{case}.json"]


def test_a_classification_is_drawn_as_a_confusion_matrix_and_a_regression_as_points() -> None:
    drawn = {path: plot["template"] for plots in PIPELINE["plots"] for path, plot in plots.items()}
    wanted = {case: "confusion" if TASKS[config(case).task].labelled else "scatter" for case in CASES}
    assert drawn == {f"metrics/predictions/{case}.csv": template for case, template in wanted.items()}


def test_the_code_that_stages_depend_on_is_there() -> None:
    depends = {dep for stage in STAGES.values() for dep in stage.get("deps", []) if "${" not in dep}
    assert depends
    assert [dep for dep in depends if not (ROOT / dep).exists()] == []


def test_dvc_does_not_phone_home_and_stages_nothing_by_itself() -> None:
    dvc = configparser.ConfigParser()
    dvc.read(ROOT / ".dvc" / "config")
    assert {key: dvc["core"][key] for key in ("analytics", "check_update", "autostage")} == dict.fromkeys(
        ("analytics", "check_update", "autostage"), "false"
    )
    assert dvc["core"]["remote"] == "local"
    assert dvc["'remote \"local\"'"]["url"].startswith("../.ratchet/"), "the folder is relative and git-ignored"
