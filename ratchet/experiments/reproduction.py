"""Training a version again from its lineage, and comparing the result."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ratchet.config import CLASSIFICATION_METRICS, REGRESSION_METRICS
from ratchet.config.plain_yaml import write_yaml
from ratchet.data.dvc_remote import fetch
from ratchet.data.fingerprint import file_version
from ratchet.data.located import located, needed_variables
from ratchet.data.snapshots import fetch_snapshot, snapshot_path
from ratchet.errors import DataError, RegistryError
from ratchet.loop.version_lineage import version_lineage
from ratchet.model.package.golden_predictions import TOLERANCE, golden_difference
from ratchet.model.package.sealed_package import Package
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.erasures import Erasures
from ratchet.tracking import run_record
from ratchet.tracking.lineage import git_state, library_versions

# Variables that would connect the second training to the stores of the first.
_NOT_INHERITED = ("MLFLOW_", "ZENML_", "RATCHET_")


class Reproduction(BaseModel):
    """The result of training a version again.

    Attributes
    ----------
    identical: every metric and every golden prediction is the same to the last bit.
    differences: each metric that differs, with both values, and the gap of the golden predictions.
    changed: libraries, data and code that differ from those of the first training.
    notes: the limits of the comparison, such as a dirty work tree.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    identical: bool
    differences: tuple[str, ...]
    changed: tuple[str, ...]
    notes: tuple[str, ...]


def reproduce(settings: Settings, pointer: ProductionPointer, number: str, root: Path) -> Reproduction:
    """Train a version again in an empty home, from its commit, config and data, and compare.

    ``root`` is the project's checkout, whose repository has the commit.

    Raises
    ------
    RegistryError: the version is unknown, its lineage is incomplete, or the training failed.
    DataError: its training rows are neither in this home nor on the DVC remote, or some of them were forgotten.
    ConfigError, StateError: the DVC remote is not configured, or does not answer.
    """
    past = version_lineage(settings, pointer, number)
    version = pointer.get(number)
    if not past["config"]["content"]:
        raise RegistryError(f"{pointer.model} version {number} has no config in its run: it cannot be trained again")
    base = past["data"].get("warm_start")
    if base:
        raise RegistryError(
            f"{pointer.model} version {number} was trained from version {base} (train.mode: warm_start):"
            " only a version that was trained from scratch can be trained again"
        )
    _require_rows(pointer, number)
    with tempfile.TemporaryDirectory(prefix="ratchet-reproduce-") as scratch:
        folder = Path(scratch)
        snapshot = past["data"].get("snapshot")
        rows = _bring_snapshot(settings, snapshot, folder)
        config = past["config"]["content"]
        if "path" in config["dataset"]:
            wanted = None if snapshot else past["data"]["version"]
            config["dataset"]["path"] = str(find_data(settings, root / config["dataset"]["path"], wanted, folder, root))
        config["dataset"] = located(config["dataset"], root)
        variables = needed_variables(config["dataset"], settings.downloads)
        original = fetch_package(settings, version)
        code, notes = _checkout(root, past["git"]["commit"], folder / "code", dirty=past["git"]["dirty"])
        try:
            record, again = _train(code, config, folder, rows, variables)
        except RegistryError as error:
            raise RegistryError("; ".join([f"{pointer.model} version {number}: {error}", *notes])) from None
        finally:
            if code != root:
                _git(root, "worktree", "remove", "--force", str(code))
    metrics = run_record(settings, version.run_id).metrics
    differences = _differences(metrics, record["metrics"], original, again)
    return Reproduction(
        model=pointer.model,
        version=number,
        identical=not differences,
        differences=tuple(differences),
        changed=tuple(_changes(past, record, root, used=code == root)),
        notes=tuple(notes),
    )


def _require_rows(pointer: ProductionPointer, number: str) -> None:
    """Raise a DataError if training rows of a version were forgotten, so that no training gives the same model."""
    for erasure in Erasures(pointer.store, pointer.model).history():
        if number in erasure.versions:
            raise DataError(
                f"{pointer.model} version {number} cannot be trained again: training rows of it were forgotten on"
                f" {erasure.when[:10]} (erasure {erasure.id}; python run.py forget --history)"
            )


def _checkout(root: Path, commit: str | None, folder: Path, *, dirty: bool) -> tuple[Path, list[str]]:
    """Check a commit out into its own work tree; return today's tree where the repository does not have the commit."""
    notes = []
    if dirty:
        notes.append("it was trained from a tree with uncommitted changes: the code may differ")
    if not commit or commit == "unknown":
        return root, [*notes, "no commit was recorded: today's code was used"]
    if _git(root, "worktree", "add", "--detach", str(folder), commit) != 0:
        return root, [*notes, f"the commit {commit[:12]} is not in this repository: today's code was used"]
    return folder, notes


def scratch_environment(folder: Path) -> dict[str, str]:
    """Return variables that put every store into a folder; unset ones would come from ``.env`` or the user's login."""
    home = folder / "home"
    return {
        "RATCHET_HOME": str(home),
        "RATCHET_MODELS_DIR": str(folder / "models"),
        "RATCHET_DATABASE_URL": f"sqlite:///{home}/ratchet.db",
        "RATCHET_ARTIFACT_ROOT": (home / "mlartifacts").as_uri(),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        "ZENML_CONFIG_PATH": str(home / "zenml"),
        "ZENML_STORE_URL": "",
        "RATCHET_DVC_REMOTE": "",
    }


def _bring_snapshot(settings: Settings, version: str | None, folder: Path) -> tuple[str, ...]:
    """Copy the rows of continuous training into the empty home, and return the options that select them.

    Rows that are not in this home are fetched from the DVC remote, and stay in this home.
    """
    if version is None:
        return ()
    source = fetch_snapshot(settings, version)
    target = snapshot_path(settings.model_copy(update={"home": folder / "home"}), version)
    target.parent.mkdir(parents=True)
    shutil.copy(source, target)
    return ("--snapshot", version)


def find_data(settings: Settings, path: Path, version: str | None, folder: Path, root: Path) -> Path:
    """Return the file of a data set with the content that a version was trained on.

    It is the file at its path, or one that was fetched into the folder by its hash. Where the remote does not have it
    either, the changed file is returned, and the comparison reports that the data differ.

    Parameters
    ----------
    path: of the file at the first training; it may be missing or changed.
    version: the MD5 of the content; None for any.
    root: the project's checkout, which configures the remote.

    Raises
    ------
    DataError: there is no file at the path, and none on the remote.
    ConfigError, StateError: the remote is not configured, or does not answer.
    """
    present = path.resolve()
    if not settings.dvc_remote or version is None or (present.is_file() and file_version(present) == version):
        return present
    fetched = folder / "data" / present.name
    try:
        fetch(root, settings.dvc_remote, version, fetched)
    except DataError:
        if not present.is_file():
            raise
        return present
    return fetched


def _train(
    code: Path, config: dict[str, Any], folder: Path, rows: tuple[str, ...], variables: dict[str, str]
) -> tuple[dict[str, Any], Package]:
    """Run the pipeline in an empty home, and return its metrics and its package."""
    path = folder / "reproduce.yaml"
    path.write_text(write_yaml(config), encoding="utf-8")
    env = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    env |= scratch_environment(folder) | variables
    command = [sys.executable, str(code / "run.py"), "--config", str(path), "--no-cache", *rows]
    run = subprocess.run(command, cwd=code, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode != 0:
        lines = run.stderr.strip().splitlines() or ["no output"]
        reason = lines[-1].removeprefix("error: ").replace(str(path), "its config")
        raise RegistryError(f"training it again failed: {reason}")
    record = json.loads((folder / "models" / config["model"] / "metrics.json").read_text())
    scratch = Settings(home=folder / "home", models_dir=folder / "models", mlflow_uri=env["MLFLOW_TRACKING_URI"])
    again = ProductionPointer(scratch, config["model"]).get(record["version"])
    return record, fetch_package(scratch, again)


def _differences(was: dict[str, float], now: dict[str, float], original: Package, again: Package) -> list[str]:
    names = sorted(set(now) | (set(was) & {*CLASSIFICATION_METRICS, *REGRESSION_METRICS}))
    found = [f"{name}: was {was.get(name)}, is {now.get(name)}" for name in names if was.get(name) != now.get(name)]
    if original.schema.feature_names != again.schema.feature_names:
        found.append(f"columns: were {original.schema.feature_names}, are {again.schema.feature_names}")
    elif original.golden != again.golden:
        gap = golden_difference(again.model, original.golden, original.schema)
        judged = "within" if gap.within(TOLERANCE) else "more than"
        found.append(f"golden rows: {gap.reason}, {judged} the tolerance of {TOLERANCE:g}")
    return found


def _changes(past: dict[str, Any], record: dict[str, Any], root: Path, *, used: bool) -> list[str]:
    now = library_versions()
    found = [
        f"{name} was {version}, is {now.get(name, 'not installed')}"
        for name, version in past["libraries"].items()
        if now.get(name) != version
    ]
    if record["data_version"] != past["data"]["version"]:
        found.append(f"the data were {past['data']['version']}, are {record['data_version']}")
    commit, _ = git_state(root)
    if commit != past["git"]["commit"]:
        use = "used here" if used else "not used here"
        found.append(f"the code was at {str(past['git']['commit'])[:12]}, is at {commit[:12]} ({use})")
    return found


def _git(root: Path, *words: str) -> int:
    try:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, check=False).returncode  # noqa: S603, S607
    except OSError:  # git is not installed
        return 127
