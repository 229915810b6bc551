from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ratchet.data.dvc_remote import push
from ratchet.data.fingerprint import file_version
from ratchet.errors import DataError
from ratchet.experiments.reproduction import find_data, scratch_environment
from ratchet.settings import Settings
from tests.conftest import ROOT

PROGRAM = """
import json
from pipelines.stack import use_embedded_store
from ratchet.settings import load_settings
settings = load_settings()
print(json.dumps([
    use_embedded_store(settings), settings.tracking_uri, settings.store_url, settings.mlflow_artifacts,
    str(settings.home), str(settings.models_dir),
]))
"""


def test_a_reproduction_never_uses_the_stores_of_the_first_training(tmp_path: Path) -> None:
    project, scratch = tmp_path / "project", tmp_path / "scratch"
    project.mkdir()
    (project / ".env").write_text(
        "RATCHET_DATABASE_URL=postgresql://production/ratchet\n"
        "RATCHET_ARTIFACT_ROOT=s3://production\n"
        "MLFLOW_TRACKING_URI=http://production:5000\n"
        "ZENML_STORE_URL=http://production:8237\n"
    )
    login = project / ".config" / "zenml" / "config.yaml"
    login.parent.mkdir(parents=True)
    login.write_text("store:\n  type: rest\n  url: http://production:8237\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RATCHET_", "MLFLOW_", "ZENML_"))}
    env |= {"HOME": str(project), "PYTHONPATH": str(ROOT), **scratch_environment(scratch)}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=project, env=env, capture_output=True, text=True, check=True
    )
    embedded, *places = json.loads(process.stdout)
    assert embedded
    assert all(str(scratch) in place for place in places), places


def test_a_changed_data_file_is_fetched_by_the_hash_that_the_version_was_trained_on(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"local\"']\n    url = ../remote\n")
    path, shared = tmp_path / "own.csv", Settings(dvc_remote="local")
    path.write_text("then")
    then = file_version(path)
    push(tmp_path, "local", path, then)
    assert find_data(shared, path, then, tmp_path / "scratch", tmp_path) == path
    path.write_text("now")
    found = find_data(shared, path, then, tmp_path / "scratch", tmp_path)
    assert (found.name, found.read_text(), path.read_text()) == ("own.csv", "then", "now")
    # The remote does not have this hash: the present file is used, and without one it is an error.
    assert find_data(shared, path, "0" * 32, tmp_path / "scratch", tmp_path) == path
    assert find_data(Settings(), path, then, tmp_path / "scratch", tmp_path) == path
    path.unlink()
    with pytest.raises(DataError, match=f"has no file with the hash {'0' * 32}"):
        find_data(shared, path, "0" * 32, tmp_path / "scratch", tmp_path)
