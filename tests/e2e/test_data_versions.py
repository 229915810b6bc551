"""DVC on a real S3 server: push, delete the outputs, pull, and reproduce."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pipelines.continuous import run_continuous
from pipelines.runner import RunOptions
from ratchet.data.snapshots import snapshot_path
from ratchet.errors import ConfigError, DataError, StateError
from ratchet.experiments.reproduction import reproduce
from ratchet.loop.training_runs import TrainingRuns
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import open_store
from tests.conftest import ROOT, Cli, of_no_home
from tests.training_runs import config_for

OUTPUTS = ("data/iris.csv", "models/iris", "metrics/predictions/iris.csv")


@dataclass(frozen=True)
class Checkout:
    """A clone of the repository, and how to run commands in it."""

    root: Path
    run: Callable[..., str]

    def figures(self) -> str:
        return (self.root / "metrics" / "iris.json").read_text()

    def delete_outputs(self) -> None:
        """Delete everything that is not in Git."""
        for name in (*OUTPUTS, ".dvc/cache", ".ratchet"):
            path = self.root / name
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A clone of the repository with uncommitted changes in one more commit."""
    root = tmp_path / "clone"

    def run(*words: str, **env: str) -> str:
        inherited = {name: value for name, value in of_no_home().items() if not name.startswith(("RATCHET_", "AWS_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            words,
            cwd=root,
            env=inherited | {"PATH": path} | env,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(
        None, subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).unlink(missing_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, root / name, follow_symlinks=False)
    run("git", "add", "--all")
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "now")
    return Checkout(root, run)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pull_from_s3_restores_the_outputs_and_training_again_gives_the_same(
    checkout: Checkout, bucket: dict[str, str]
) -> None:
    run = checkout.run
    run("dvc", "repro", "evaluate@iris")
    figures = checkout.figures()
    lock = (checkout.root / "dvc.lock").read_text()
    lineage = json.loads(run("python", "run.py", "lineage", "1", "--model", "iris", "--json"))
    assert lineage["data"]["version"] == yaml.safe_load(lock)["stages"]["data@iris"]["outs"][0]["md5"]
    assert "pushed" in run("dvc", "push", "--remote", "s3", "--with-deps", "evaluate@iris", **bucket)

    checkout.delete_outputs()
    run("dvc", "pull", "--remote", "s3", "--with-deps", "evaluate@iris", **bucket)
    assert all((checkout.root / name).exists() for name in OUTPUTS)
    assert "Data and pipelines are up to date." in run("dvc", "repro", "evaluate@iris")

    checkout.delete_outputs()
    run("dvc", "repro", "evaluate@iris")
    assert checkout.figures() == figures
    assert (checkout.root / "dvc.lock").read_text() == lock


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_changed_config_is_in_the_diffs_of_metrics_plots_and_parameters(checkout: Checkout) -> None:
    run, config = checkout.run, checkout.root / "configs" / "diabetes" / "baseline.yaml"
    run("dvc", "repro", "evaluate@diabetes")
    run("git", "add", "--all")
    run(
        "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "made"
    )
    text = config.read_text()
    assert "alpha: 1.0" in text
    config.write_text(text.replace("alpha: 1.0", "alpha: 50.0"))
    run("dvc", "repro", "evaluate@diabetes")
    changed = json.loads(run("dvc", "metrics", "diff", "--json"))
    assert set(changed) == {"metrics/diabetes.json"}
    rmse = changed["metrics/diabetes.json"]["rmse"]
    assert rmse["new"] - rmse["old"] == pytest.approx(rmse["diff"]) != 0
    changed = json.loads(run("dvc", "params", "diff", "--json"))["configs/diabetes/baseline.yaml"]
    assert changed == {"train.params.alpha": {"old": 1.0, "new": 50.0, "diff": 49.0}}
    drawn = json.loads(run("dvc", "plots", "diff", "HEAD", "--json", "--targets", "metrics/predictions/diabetes.csv"))
    (plot,) = drawn["data"]["dvc.yaml::metrics/predictions/diabetes.csv"]
    assert set(plot["revisions"]) == {"workspace", "HEAD"}
    assert plot["content"]["mark"]["type"] == "point"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_rows_of_a_run_of_continuous_training_are_fetched_from_s3_by_their_hash(
    settings: Settings, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    shared = settings.model_copy(update={"dvc_remote": "s3"})
    config = config_for("rows_on_s3", name="continuous_training")
    ended = run_continuous(config, shared, RunOptions("test"))
    assert ended.run.snapshot is not None
    path = snapshot_path(settings, ended.run.snapshot)
    rows = path.read_bytes()
    path.unlink()
    pointer = ProductionPointer(settings, "rows_on_s3")
    with pytest.raises(DataError, match="is not in this home"):
        reproduce(settings, pointer, str(ended.run.version), ROOT)
    again = reproduce(shared, pointer, str(ended.run.version), ROOT)
    assert again.identical, again.differences
    assert path.read_bytes() == rows
    path.unlink()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StateError, match="the DVC remote 's3' cannot read .*does this user, or this access key"):
        reproduce(shared, pointer, str(ended.run.version), ROOT)


def run_with(settings: Settings, remote: str, model: str) -> None:
    config = config_for(model, name="continuous_training")
    shared = settings.model_copy(update={"dvc_remote": remote})
    run_continuous(config, shared, RunOptions("test"))


def test_a_run_whose_rows_cannot_be_pushed_stays_open(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:1", "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with pytest.raises(StateError, match=r"the DVC remote 's3' cannot store .*is AWS_ENDPOINT_URL right"):
        run_with(settings, "s3", "remote_is_away")
    run = TrainingRuns(open_store(settings), "remote_is_away").history(1)[0]
    assert (run.state, run.attempts) == ("open", 0)
    assert run.snapshot is not None
    assert snapshot_path(settings, run.snapshot).is_file(), "the rows themselves are safe in the home"


def test_a_remote_that_is_not_configured_is_refused_before_a_run_opens(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"RATCHET_DVC_REMOTE: .* has no remote 'locla'; did you mean 'local'"):
        run_with(settings, "locla", "remote_is_unknown")
    assert TrainingRuns(open_store(settings), "remote_is_unknown").history(1) == []


@pytest.mark.slow
def test_the_commands_write_the_data_and_score_the_export(cli: Cli, tmp_path: Path) -> None:
    place = {"RATCHET_DATA_DIR": str(tmp_path), "RATCHET_MODELS_DIR": str(tmp_path)}
    wrote = cli("data", "--config", "baseline.yaml", **place)
    assert wrote.returncode == 0, wrote.stderr
    assert "iris.csv: written, 150 rows, MD5 " in wrote.stdout
    (tmp_path / "iris.csv").write_text("mine")
    for words in (("data",), ("evaluate",), ("data", "--check")):
        refused = cli(*words, "--config", "baseline.yaml", **place)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("error: ")
        assert refused.stderr.count("\n") == 1
