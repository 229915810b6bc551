"""What has to be true of .gitlab-ci.yml: which jobs run when, what they call, and what never runs side by side."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib import resources
from typing import Any

import jsonschema
import pytest
import typer

import run as command_line
from ratchet.config.files import find_config, load_config
from tests.ci.pipeline import (
    BRANCH,
    FILE,
    JOBS,
    MAIN,
    MERGE_REQUEST,
    SCHEDULE,
    SPEC,
    pipeline,
    script,
    tagged,
)
from tests.conftest import ROOT

EVERYWHERE = {"check", "test", "test-slow", "monitoring", "images", "containers", "smoke-training", "metrics"}
BY_HAND = {"test-slow", "containers", "promote", "rollback"}
CHANGE_PRODUCTION = {"continuous-training", "promote", "rollback", "deploy"}
SERVERS = {"MLFLOW_TRACKING_URI", "ZENML_STORE_URL", "RATCHET_DATABASE_URL", "RATCHET_ARTIFACT_ROOT"}


def test_gitlabs_published_schema_accepts_it() -> None:
    vendored = pytest.importorskip(
        "check_jsonschema", reason="check-jsonschema, which brings GitLab's schema, is not here"
    )
    file = resources.files(vendored) / "builtin_schemas" / "vendor" / "gitlab-ci.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(SPEC)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        (MERGE_REQUEST, EVERYWHERE),
        (MAIN, EVERYWHERE | {"release", "promote", "rollback"}),
        ({"CI_PIPELINE_SOURCE": "web", "CI_COMMIT_BRANCH": "main"}, EVERYWHERE | {"release", "promote", "rollback"}),
        (SCHEDULE, {"continuous-training"}),
        (SCHEDULE | tagged("v1") | {"CI_PIPELINE_SOURCE": "schedule"}, {"continuous-training"}),
        (tagged("v1"), EVERYWHERE | {"release", "deploy", "promote", "rollback"}),
        (tagged("v1.2.3"), EVERYWHERE | {"release", "deploy", "promote", "rollback"}),
        (tagged("v2-beta"), set()),
        (tagged("nightly"), set()),
        (BRANCH, set()),
        (SCHEDULE | {"CI_COMMIT_BRANCH": "feature"}, set()),
    ],
    ids=[
        "merge request",
        "main",
        "by hand on main",
        "schedule",
        "schedule on a tag",
        "v1",
        "v1.2.3",
        "v2-beta",
        "other tag",
        "branch",
        "schedule on a branch",
    ],
)
def test_each_kind_of_pipeline_has_its_jobs(variables: dict[str, str], wanted: set[str]) -> None:
    assert set(pipeline(variables)) == wanted


def test_only_a_person_begins_what_moves_production_by_hand_and_a_pipeline_does_not_wait_for_it() -> None:
    assert {name for name, when in pipeline(MAIN).items() if when == "manual"} == BY_HAND
    for name in ("promote", "rollback"):
        assert [rule.get("allow_failure") for rule in JOBS[name]["rules"] if rule.get("when") != "never"] == [True]
        assert JOBS[name]["needs"] == [], "a rollback does not wait for tests"


def test_what_changes_production_runs_alone_and_is_not_ended_by_a_newer_commit() -> None:
    assert {name for name, job in JOBS.items() if job.get("resource_group") == "production"} == CHANGE_PRODUCTION
    assert {name for name, job in JOBS.items() if job.get("interruptible") is False} == {
        "containers",  # it would leave a project on its runner
        *CHANGE_PRODUCTION,
    }
    assert SPEC["default"]["interruptible"] is True


def test_only_jobs_of_the_environment_see_the_teams_servers() -> None:
    environments = {name: job["environment"] for name, job in JOBS.items() if "environment" in job}
    assert set(environments) == CHANGE_PRODUCTION
    assert {environment["name"] for environment in environments.values()} == {"production"}
    assert {name for name, found in environments.items() if found.get("action") != "access"} == {"deploy"}


def test_the_smoke_training_forgets_servers_that_were_not_scoped() -> None:
    first = JOBS["smoke-training"]["script"][0].split()
    assert first[0] == "unset"
    assert set(first[1:]) >= SERVERS


def test_a_job_that_is_tried_again_has_the_same_operation() -> None:
    for name, wanted in (
        ("promote", "gitlab-$CI_PIPELINE_ID-promote-$VERSION"),
        ("rollback", "gitlab-$CI_PIPELINE_ID-rollback"),
    ):
        (line,) = [line for line in JOBS[name]["script"] if f"run.py {name}" in line]
        assert f'--operation-id "{wanted}"' in line
        assert JOBS[name]["variables"]["RATCHET_ACTOR"] == "$GITLAB_USER_LOGIN"


def test_needs_name_jobs_of_the_same_pipeline() -> None:
    for variables in (MERGE_REQUEST, MAIN, SCHEDULE, tagged("v1")):
        jobs = pipeline(variables)
        for name in jobs:
            assert set(JOBS[name]["needs"]) <= set(jobs), name
    assert "release" in JOBS["deploy"]["needs"]
    assert set(JOBS["release"]["needs"]) == {"check", "test", "monitoring", "images"}, "what failed gets no name"


def test_a_cache_is_keyed_by_a_lock_that_its_job_installs_from() -> None:
    cached = {name: job for name, job in JOBS.items() if "cache" in job}
    of_development = {"check", "test", "test-slow", "test-containers", ".venv/.dev"}
    assert cached
    for name, job in cached.items():
        (lock,) = job["cache"]["key"]["files"]
        assert (ROOT / lock).is_file()
        # What the targets depend on: check and test on the development lock, .venv/.x on the lock x.
        targets = {words[1] for line in script(job) if (words := line.split())[0] == "make"}
        locks = {"dev" if target in of_development else target.removeprefix(".venv/.") for target in targets}
        assert {f"requirements/{found}.txt" for found in locks} == {lock}, name
        assert job["cache"]["paths"] == [".cache/"]
    assert {SPEC["variables"][name].split("/")[0] for name in ("PIP_CACHE_DIR", "UV_CACHE_DIR")} == {".cache"}


def test_an_image_has_an_explicit_tag() -> None:
    images = [SPEC["default"]["image"], *(job["image"] for job in JOBS.values() if "image" in job)]
    images += [service for job in JOBS.values() for service in job.get("services", [])]
    names = [image["name"] if isinstance(image, dict) else image for image in images]
    assert len(names) >= 4
    for name in names:
        assert re.fullmatch(r"\$\{HUB\}[\w./-]+:v?\d[\w.-]*", name), name


def test_no_secret_stands_in_the_file() -> None:
    text = FILE.read_text()
    assert re.search(r"://[^/\s$]+:[^@\s$]+@", text) is None
    variables = SPEC["variables"] | {
        key: value for job in JOBS.values() for key, value in job.get("variables", {}).items()
    }
    secret = re.compile(r"PASSWORD|TOKEN|SECRET|KEY|CREDENTIAL|DATABASE_URL|TRACKING_URI|STORE_URL")
    assert [name for name in variables if secret.search(name)] == []


TARGETS = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_is_there() -> None:
    called = {line.split()[1] for job in JOBS.values() for line in script(job) if line.startswith("make ")}
    assert called >= {"check", "test", ".venv/.training"}
    assert called <= TARGETS


COMMAND: Any = typer.main.get_command(command_line.app)
CALLS = sorted({line for job in JOBS.values() for line in script(job) if "run.py" in line})


@pytest.mark.parametrize("line", CALLS)
def test_every_call_of_the_command_line_is_understood(line: str) -> None:
    line = re.sub(r"\$\{(\w+):\+(.*?)\}", r"\2", line)
    words = shlex.split(line)[2:]
    command, arguments = (COMMAND.commands[words[0]], words[1:]) if words[0] in COMMAND.commands else (COMMAND, words)
    context = command.make_context(words[0], list(arguments))
    assert not context.args, "nothing is left over"
    if context.params.get("config"):
        load_config(find_config(context.params["config"], ROOT), context.params.get("overrides") or ())


def test_every_file_that_a_job_reads_is_there() -> None:
    lines = [line for job in JOBS.values() for line in script(job)]
    named = {path for line in lines for path in re.findall(r"\b(?:deploy|monitoring)/[\w./*$-]+", line)}
    assert named
    for path in named:
        for image in ("training", "serving"):
            assert list(ROOT.glob(path.replace("$IMAGE", image))), path


def test_the_images_are_those_that_compose_starts() -> None:
    (matrix,) = JOBS["images"]["parallel"]["matrix"]
    assert matrix["IMAGE"] == ["training", "serving"]
    for image in matrix["IMAGE"]:
        assert JOBS["deploy"]["variables"][f"{image.upper()}_IMAGE"] == f"$CI_REGISTRY_IMAGE/{image}:$CI_COMMIT_TAG"


def test_what_a_job_writes_before_it_trains_does_not_make_its_checkout_dirty() -> None:
    folders = [path for job in JOBS.values() if "cache" in job for path in job["cache"]["paths"]]
    folders += [value for name, value in JOBS["smoke-training"]["variables"].items() if name.startswith("RATCHET_")]
    assert len(folders) >= 3
    for folder in folders:
        asked = subprocess.run(["git", "check-ignore", "--quiet", f"{folder.rstrip('/')}/file"], cwd=ROOT, check=False)
        assert asked.returncode == 0, folder
