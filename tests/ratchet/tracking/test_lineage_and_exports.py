from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import joblib
import pytest

from ratchet.data import Schema
from ratchet.model.package.model_files import export_model
from ratchet.tracking.lineage import collect, git_state, library_versions, lineage_tags
from tests.conftest import ROOT
from tests.fitted import Trained


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("built", "state"),
    [
        ("a" * 40, ("a" * 40, False)),
        (f"{'a' * 40}-dirty", ("a" * 40, True)),
        ("unknown", ("unknown", True)),
        ("v1.2", ("unknown", True)),
    ],
)
def test_the_commit_of_an_image_comes_from_its_environment(
    built: str, state: tuple[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_COMMIT", built)
    assert git_state(tmp_path) == state


def test_commit_and_dirty_tree_are_detected(tmp_path: Path) -> None:
    assert git_state(tmp_path) == ("unknown", True)
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit, dirty = git_state(tmp_path)
    assert len(commit) == 40
    assert not dirty
    (tmp_path / "file").write_text("2")
    assert git_state(tmp_path) == (commit, True)


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ("docs/images/loop.png", False),
        ("docs/how-to/new.md", False),
        ("notebooks/quickstart.ipynb", False),
        ("ratchet/README.md", False),
        ("metrics/iris.json", False),
        ("benchmarks/results/loop.json", False),
        ("ratchet/docs/code.py", True),
        ("configs/iris/baseline.yaml", True),
        ("requirements/training.txt", True),
        ("dvc.lock", True),
        ("pyproject.toml", True),
    ],
)
@pytest.mark.parametrize("tracked", [True, False], ids=["changed", "new"])
def test_code_configs_and_locks_make_a_tree_dirty_and_documents_and_output_do_not(
    changed: str, dirty: bool, tracked: bool, tmp_path: Path
) -> None:
    script = tmp_path / "deploy/git-commit"
    script.parent.mkdir()
    shutil.copy(ROOT / "deploy/git-commit", script)
    file = tmp_path / changed
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_name("other").write_text("1")  # so that the folder is known, and the file itself is what is new
    if tracked:
        file.write_text("1")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        git(tmp_path, *words)
    file.write_text("2")
    commit, found = git_state(tmp_path)
    assert found == dirty
    printed = subprocess.run([str(script)], capture_output=True, text=True, check=True).stdout
    assert printed == f"{commit}{'-dirty' if dirty else ''}\n", "the image's lineage says the same"


def test_three_values_of_a_lineage_are_tags_and_all_are_text(iris: Trained, tmp_path: Path) -> None:
    lineage = collect(iris.config, "abc", tmp_path)
    assert lineage.tags() == {
        "ratchet.pipeline": "training",
        "ratchet.data_version": "abc",
        "ratchet.git_commit": "unknown",
    }
    flat = lineage.flat()
    assert (flat["git_dirty"], flat["seed"]) == ("true", "42")
    assert flat["version.scikit-learn"] == library_versions()["scikit-learn"]


def test_what_only_some_runs_have_is_a_tag_too(iris: Trained, tmp_path: Path) -> None:
    some = {"warm_start": "3", "audit_share": 0.5, "study": "s", "trial": 2}
    tags = collect(iris.config, "abc", tmp_path).model_copy(update=some).tags()
    assert {key: tags[f"ratchet.{key}"] for key in some} == {key: str(value) for key, value in some.items()}


def test_the_rows_of_continuous_training_are_a_snapshot_in_old_and_new_tags() -> None:
    new = {"ratchet.pipeline": "continuous_training", "ratchet.data_version": "abc", "mlflow.user": "x"}
    assert lineage_tags(new)["snapshot"] == "abc"
    assert lineage_tags({"ratchet.snapshot": "abc", "ratchet.data_version": "abc"})["snapshot"] == "abc"
    assert "snapshot" not in lineage_tags({"ratchet.pipeline": "training", "ratchet.data_version": "abc"})


def test_a_library_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.tracking.lineage.LIBRARIES", ("numpy", "no-such-library"))
    assert set(library_versions()) == {"python", "numpy"}


def test_the_exported_files_can_be_read(tmp_path: Path, iris: Trained) -> None:
    export_model(tmp_path / "iris", iris.model, iris.schema, {"metrics": {"f1_macro": 0.9}})
    assert json.loads((tmp_path / "iris" / "metrics.json").read_text()) == {"metrics": {"f1_macro": 0.9}}
    assert Schema.model_validate_json((tmp_path / "iris" / "schema.json").read_text()) == iris.schema
    model = joblib.load(tmp_path / "iris" / "model.joblib")
    features = iris.schema.select(iris.holdout)
    assert model.predict(features).tolist() == iris.model.predict(features).tolist()


def test_a_failed_export_leaves_the_old_files(tmp_path: Path, iris: Trained) -> None:
    export_model(tmp_path, iris.model, iris.schema, {"run": 1})
    with pytest.raises(TypeError):
        export_model(tmp_path, iris.model, iris.schema, {"run": object()})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"run": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "model.joblib", "schema.json"]
