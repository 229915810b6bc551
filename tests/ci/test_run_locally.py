"""The jobs that change Production, run by gitlab-ci-local in isolation on a clone, against stores of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ratchet.loop.training_runs import TrainingRuns
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import open_store
from tests.ci.pipeline import MAIN, MERGE_REQUEST, SCHEDULE, pipeline, tagged
from tests.conftest import ROOT, of_no_home
from tests.ratchet.loop.production import answer, label, simulation_of, take

MISSING = [tool for tool in ("gitlab-ci-local", "rsync") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {', '.join(MISSING)}"),
]

MODEL = "iris"
ISOLATED = ("--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source", "--no-color")


@dataclass
class Clone:
    """A clone of this project, and the servers that its jobs are given."""

    folder: Path
    settings: Settings

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """gitlab-ci-local, as a person types it."""
        return subprocess.run(
            ["gitlab-ci-local", *ISOLATED, *words],
            cwd=self.folder,
            env={name: value for name, value in of_no_home().items() if not name.startswith("RATCHET_")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def job(self, *words: str, **variables: str) -> str:
        """Run jobs with the team's variables and some more; what they said."""
        team = {"MLFLOW_TRACKING_URI": self.settings.tracking_uri, "RATCHET_DATABASE_URL": self.settings.store_url}
        given = [f"{name}={value}" for name, value in (team | variables).items()]
        done = self.run(*words, *(word for pair in given for word in ("--variable", pair)))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def listed(self, variables: dict[str, str]) -> dict[str, str]:
        """The jobs of a pipeline, each with its ``when``."""
        given = [word for name, value in variables.items() for word in ("--variable", f"{name}={value}")]
        absent = ["--unset-variable", "CI_COMMIT_BRANCH"] if "CI_COMMIT_BRANCH" not in variables else []
        done = self.run("--list-json", *given, *absent)
        assert done.returncode == 0, done.stdout + done.stderr
        jobs, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("[\n") :])
        return {re.sub(r": \[.*", "", job["name"]): job["when"] for job in jobs if job["when"] != "never"}

    @property
    def pointer(self) -> ProductionPointer:
        return ProductionPointer(self.settings, MODEL)

    def in_production(self) -> str:
        version = self.pointer.current()
        assert version is not None
        return version.version


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The working tree as a repository of its own, two versions of the model, and labels that ask for a third."""
    base = tmp_path_factory.mktemp("gitlab")
    folder, home = base / "project", base / "home"
    settings = Settings(home=home, models_dir=base / "models", mlflow_uri=f"sqlite:///{home}/mlflow.db")
    home.mkdir()
    copy_project(folder)
    own = {"RATCHET_HOME": str(home), "RATCHET_MODELS_DIR": str(settings.models_dir)}
    for name in ("baseline", "variation_random_forest"):
        command = [sys.executable, "run.py", "--config", f"{name}.yaml"]
        subprocess.run(command, cwd=folder, env=of_no_home() | own, check=True, timeout=300)
    found = Clone(folder, settings)
    examples = take(simulation_of(MODEL, "labels.share=1"), 300, 260)
    store = open_store(settings)
    label(store, MODEL, zip(answer(settings, store, MODEL, examples, base / "package"), examples, strict=True))
    return found


def copy_project(folder: Path) -> None:
    """The files that git knows or would take, and an environment that is this one, so that no job installs packages."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    for lock in (folder / "requirements").iterdir():
        os.utime(lock, (0, 0))  # older than what was installed from it
    for stamp in (".uv", ".training"):
        (folder / ".venv" / stamp).touch()
    git = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["add", "-f", ".venv"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    for key, value in (("user.name", "ann"), ("user.email", "ann@example.com")):
        subprocess.run(["git", "config", key, value], cwd=folder, check=True)


@pytest.mark.parametrize(
    "variables", [MAIN, MERGE_REQUEST, SCHEDULE, tagged("v2")], ids=["main", "mr", "schedule", "tag"]
)
def test_it_has_the_jobs_that_the_rules_say(clone: Clone, variables: dict[str, str]) -> None:
    assert clone.listed(variables) == pipeline(variables)


def test_a_rollback_takes_a_reason_and_is_done_once(clone: Clone) -> None:
    without = clone.run(
        "promote", "--variable", "MLFLOW_TRACKING_URI=sqlite://", "--variable", "RATCHET_DATABASE_URL=sqlite://"
    )
    assert "VERSION: is not set: run the job with the variable VERSION" in without.stdout + without.stderr
    first = clone.in_production()
    assert first == "1", "and nothing moved"
    clone.job("promote", VERSION="2", REASON="to try it")
    assert clone.in_production() == "2"
    clone.job("rollback", REASON="worse", CI_PIPELINE_ID="77")
    assert clone.in_production() == first
    clone.job("rollback", REASON="worse", CI_PIPELINE_ID="77")
    newest = clone.pointer.ledger.history(2)
    assert [(entry.kind, entry.actor, entry.reason) for entry in newest] == [
        ("rollback", "ann", "worse"),
        ("promote", "ann", "to try it"),
    ]
    assert newest[0].operation_id == "gitlab-77-rollback"


def test_the_schedule_trains_and_the_second_look_finds_nothing_to_do(clone: Clone) -> None:
    said = clone.job(CI_PIPELINE_SOURCE="schedule")
    assert "starts: every_k_labels" in said
    run = TrainingRuns(open_store(clone.settings), MODEL).last()
    assert run is not None
    assert run.state in ("promoted", "refused")
    assert "nothing to do" in clone.job(CI_PIPELINE_SOURCE="schedule")
