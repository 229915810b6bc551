"""What dvc.yaml, dvc.lock and .dvc/config say has to be true of the repository."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.config.files import load_config
from ratchet.data import dataset_version
from ratchet.model.tasks import TASKS
from tests.stage_imports import LOADED_BY_NAME, imported_by, imported_by_package, loading_by_name

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


# What the commands import and no stage depends on: it cannot change the bytes of an output.
OUTSIDE = {
    "commands": "prints progress and results",
    "pipelines.cached_steps": "runs a step again whose outputs were deleted",
    "pipelines.progress": "reports the steps to the terminal",
    "pipelines.runner": "opens the run, and hands the config, a parameter of the stages, to the pipeline",
    "pipelines.stack": "sets up ZenML's store",
    "pipelines.startup": "makes ZenML start faster",
    "pipelines.zenml_survey": "answers the survey of ZenML's dashboard",
    "ratchet.errors": "messages",
    "ratchet.experiments.comparison.link": "the address of a page",
    "ratchet.loop.machines": "registers the home in the store",
    "ratchet.monitoring": "compares training rows with the champion's, for a report",
    "ratchet.nearest_names": "suggestions in messages",
    "ratchet.private_files": "permissions of files",
    "ratchet.registry": "decides which version is promoted, after it is made; except warm_start",
    "ratchet.settings": "addresses and folders",
    "ratchet.store": "the ledger and leases",
    "ratchet.tracking": "logs what was made",
    "ratchet.user_identity": "names the user in records",
}


def code_of(stage: str) -> list[str]:
    """The dependencies of a stage that are code."""
    return [dep for dep in STAGES[stage]["deps"] if "${" not in dep]


def covers(dep: str, module: str) -> bool:
    name = dep.removesuffix(".py").replace("/", ".")
    return module == name or (not dep.endswith(".py") and module.startswith(f"{name}."))


def uncovered(stage: str, deps: list[str]) -> set[str]:
    """The modules that a stage's command imports, and that neither a dependency nor OUTSIDE names."""
    modules = imported_by(STAGES[stage]["cmd"])
    outside = [name.replace(".", "/") for name in OUTSIDE]
    return {module for module in modules if not any(covers(dep, module) for dep in [*deps, *outside])}


@pytest.mark.parametrize("stage", STAGES)
def test_a_change_of_the_type_of_values_makes_a_stage_stale(stage: str) -> None:
    assert any(covers(dep, "ratchet.data.columns") for dep in code_of(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_of_its_command_that_can_shape_its_outputs(stage: str) -> None:
    assert uncovered(stage, code_of(stage)) == set()
    modules = imported_by(STAGES[stage]["cmd"])
    assert [dep for dep in code_of(stage) if not any(covers(dep, module) for module in modules)] == []


def test_a_dependency_that_is_forgotten_is_found() -> None:
    assert "ratchet.data.columns" in uncovered("data", ["ratchet/config", "ratchet/data/fingerprint.py"])
    assert "ratchet.model.embedding.series" in uncovered("train", ["ratchet/config", "ratchet/data", "steps"])
    assert {"pipelines.training", "steps.train", "ratchet.registry.warm_start"} <= imported_by(STAGES["train"]["cmd"])


def test_what_shapes_a_model_imports_nothing_that_stages_do_not_depend_on() -> None:
    shaping = ("ratchet.config", "ratchet.data", "ratchet.model")
    imported = set[str]().union(*map(imported_by_package, shaping))
    others = {module for module in imported if not module.startswith(shaping)}
    assert others <= {
        "ratchet.errors",
        "ratchet.nearest_names",
        "ratchet.private_files",
        "ratchet.settings",
        "ratchet.user_identity",
    }


def test_every_import_by_name_is_known() -> None:
    assert set(loading_by_name()) == set(LOADED_BY_NAME)


def test_what_is_outside_is_imported() -> None:
    imported = set[str]().union(*(imported_by(stage["cmd"]) for stage in STAGES.values()))
    assert [name for name in OUTSIDE if not any(covers(name.replace(".", "/"), module) for module in imported)] == []


@pytest.fixture
def up_to_date(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """The three stages of a use case in a copy of the repository, committed to DVC with outputs of a few bytes."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    stages = [f"{stage}@iris" for stage in STAGES]
    outs = ("data/iris.csv", "models/iris/model.joblib", "models/iris/schema.json", "metrics/predictions/iris.csv")
    for out in outs:
        (tmp_path / out).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / out).write_text(out)

    def dvc(*words: str) -> str:
        command = [str(Path(sys.executable).with_name("dvc")), *words, *stages]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    dvc("commit", "--force")
    return lambda: json.loads(dvc("status", "--json"))


@pytest.mark.slow
def test_dvc_calls_a_stage_stale_after_a_change_of_what_it_depends_on(
    up_to_date: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    assert up_to_date() == {}
    for dep in dict.fromkeys(dep for stage in STAGES for dep in code_of(stage)):
        path = tmp_path / dep
        module = path if path.is_file() else max(path.rglob("*.py"), key=lambda file: (len(file.parts), file.name))
        text = module.read_text()
        module.write_text(f"{text}\n# changed\n")
        assert set(up_to_date()) == {f"{stage}@iris" for stage in STAGES if dep in code_of(stage)}
        module.write_text(text)


def test_dvc_does_not_phone_home_and_stages_nothing_by_itself() -> None:
    dvc = configparser.ConfigParser()
    dvc.read(ROOT / ".dvc" / "config")
    assert {key: dvc["core"][key] for key in ("analytics", "check_update", "autostage")} == dict.fromkeys(
        ("analytics", "check_update", "autostage"), "false"
    )
    assert dvc["core"]["remote"] == "local"
    assert dvc["'remote \"local\"'"]["url"].startswith("../.ratchet/"), "the folder is relative and git-ignored"
