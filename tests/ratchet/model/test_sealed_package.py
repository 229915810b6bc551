from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from ratchet.data.fingerprint import file_sha256
from ratchet.errors import PackageError
from ratchet.model.package.golden_predictions import TOLERANCE, Golden, golden_difference, record_golden
from ratchet.model.package.mlflow_model import requirements
from ratchet.model.package.onnx import check_parity, export_onnx, onnx_inputs, open_session
from ratchet.model.package.sealed_package import (
    load_package,
    load_pipeline,
    verify_files,
    verify_package,
    write_package,
)
from tests.fitted import Trained, baseline


@pytest.fixture
def package(iris_package: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """A copy of the baseline's package, to be damaged."""
    folder, digest = iris_package
    return Path(shutil.copytree(folder, tmp_path / "copy")), digest


def test_a_loaded_package_is_the_one_that_was_written(iris_package: tuple[Path, str], iris: Trained) -> None:
    loaded = load_package(*iris_package)
    verify_package(loaded)
    np.testing.assert_array_equal(
        loaded.model.predict_proba(iris.schema.select(iris.holdout)),
        iris.model.predict_proba(iris.schema.select(iris.holdout)),
    )
    assert loaded.schema == iris.schema
    assert np.array_equal(loaded.training_rows.ids, iris.train_identities.ids)
    assert loaded.onnx is not None


def test_a_package_can_be_loaded_by_mlflow(iris_package: tuple[Path, str], iris: Trained) -> None:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(iris_package[0]))
    assert model.metadata.signature.inputs.input_names() == iris.schema.feature_names
    assert (
        model.predict(iris.schema.select(iris.holdout)).tolist()
        == iris.model.predict(iris.schema.select(iris.holdout)).tolist()
    )


def test_requirements_are_exact() -> None:
    assert all("==" in line for line in requirements())


@pytest.mark.parametrize("name", ["model.skops", "model.onnx", "schema.json", "golden.json", "MLmodel"])
def test_a_changed_file_is_refused_by_name(package: tuple[Path, str], name: str) -> None:
    folder, digest = package
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(PackageError, match=f"{name}: differs from the manifest"):
        load_package(folder, digest)


def test_a_missing_file_is_refused_by_name(package: tuple[Path, str]) -> None:
    folder, digest = package
    (folder / "profile.json").unlink()
    with pytest.raises(PackageError, match=r"profile.json: missing from the package"):
        load_package(folder, digest)


ADDED: dict[str, Callable[[Path], object]] = {
    "extra.py": lambda folder: (folder / "extra.py").write_text("print()"),
    "code": lambda folder: (folder / "code").mkdir(),
    "code/sklearn.py": lambda folder: ((folder / "code").mkdir(), (folder / "code" / "sklearn.py").write_text("")),
    ".hidden": lambda folder: (folder / ".hidden").write_text(""),
    "link": lambda folder: (folder / "link").symlink_to(folder / "schema.json"),
    "linked": lambda folder: (folder / "linked").symlink_to("/"),
    "nowhere": lambda folder: (folder / "nowhere").symlink_to("nowhere at all"),
    "pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "schema.json": lambda folder: (
        (folder / "schema.json").rename(folder.parent / "schema.json"),
        (folder / "schema.json").symlink_to(folder.parent / "schema.json"),
    ),
}


def test_what_mlflow_adds_when_it_loads_a_version_by_name_is_accepted(package: tuple[Path, str]) -> None:
    folder, digest = package
    (folder / "registered_model_meta").write_text("model_name: iris\nmodel_version: '1'\n")
    load_package(folder, digest)


@pytest.mark.parametrize("name", ADDED)
def test_whatever_is_added_to_a_package_is_refused_by_name(package: tuple[Path, str], name: str) -> None:
    folder, digest = package
    ADDED[name](folder)
    for load in (load_package, verify_files):
        with pytest.raises(PackageError, match=rf"{name.split('/', maxsplit=1)[0]}: is not in the manifest"):
            load(folder, digest)


def test_a_link_to_a_package_is_refused(package: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(package[0])
    with pytest.raises(PackageError, match="is not in the manifest, or is a link"):
        load_package(tmp_path / "link", package[1])


def test_the_files_that_mlflow_writes_are_sealed(iris_package: tuple[Path, str]) -> None:
    folder, digest = iris_package
    sealed = verify_files(folder, digest).files
    assert {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json"} <= set(sealed)
    assert {*sealed, "manifest.json"} == {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_file_changed_with_its_manifest_is_refused(package: tuple[Path, str]) -> None:
    folder, digest = package
    (folder / "golden.json").write_text("{}")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["golden.json"] = file_sha256(folder / "golden.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match=r"manifest.json: differs from the digest recorded at registration"):
        load_package(folder, digest)


def test_a_folder_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"manifest.json: missing"):
        load_package(tmp_path, "0" * 64)


def test_a_type_off_the_trust_list_is_refused_when_it_is_written(tmp_path: Path, iris: Trained) -> None:
    with pytest.raises(PackageError, match=r"the model holds .*shutil.*/trusted_types.py does not list"):
        write_package(tmp_path / "p", FunctionTransformer(shutil.rmtree), iris.train, iris.schema)
    assert not (tmp_path / "p").exists()


def test_a_type_off_the_trust_list_is_refused_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(skops.io.dumps(FunctionTransformer(shutil.rmtree)))
    with pytest.raises(PackageError, match=r"model.skops: Untrusted types found.*/trusted_types.py"):
        load_pipeline(tmp_path)


ESTIMATORS = {
    "sklearn.linear_model.LogisticRegression": True,
    "sklearn.ensemble.RandomForestClassifier": True,
    "sklearn.ensemble.GradientBoostingClassifier": True,
    "sklearn.ensemble.HistGradientBoostingClassifier": False,
    "sklearn.svm.LinearSVC": False,
    "sklearn.neighbors.KNeighborsClassifier": True,
    "sklearn.naive_bayes.GaussianNB": True,
    "sklearn.tree.DecisionTreeClassifier": True,
    "sklearn.dummy.DummyClassifier": False,
}


@pytest.mark.parametrize("path", ESTIMATORS)
def test_the_usual_estimators_can_be_packaged(path: str, tmp_path: Path) -> None:
    few = {
        "RandomForest": "n_estimators: 5",
        "GradientBoosting": "n_estimators: 5",
        "HistGradientBoosting": "max_iter: 5",
    }
    params = few.get(path.rpartition(".")[2].removesuffix("Classifier"), "")
    trained = baseline(f"train={{estimator: {path}, params: {{{params}}}}}")
    digest, manifest = write_package(tmp_path / "p", trained.model, trained.train, trained.schema)
    verify_package(load_package(tmp_path / "p", digest))
    assert manifest.onnx.exported == ESTIMATORS[path], manifest.onnx.reason


@pytest.mark.parametrize("name", ["iris", "diabetes", "mixed"])
def test_onnx_predicts_as_scikit_learn_does(name: str, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(name)
    content, report = export_onnx(trained.model, trained.train, trained.schema)
    assert content is not None
    assert report.max_difference is not None
    features = trained.schema.select(trained.holdout)
    session = open_session(content)
    first = session.run(None, onnx_inputs(session, features, trained.schema))[0]
    expected = trained.model.predict(features)
    if name != "diabetes":
        assert first.tolist() == expected.tolist()
    else:
        np.testing.assert_allclose(first.ravel(), expected, rtol=1e-4)


def test_an_export_with_other_predictions_is_refused(iris: Trained, diabetes: Trained) -> None:
    content, _ = export_onnx(iris.model, iris.train, iris.schema)
    other = baseline("train.params.C=0.001")
    features = iris.schema.select(iris.train)
    assert content is not None
    assert not check_parity(content, other.model, features, iris.schema).exported
    content, _ = export_onnx(diabetes.model, diabetes.train, diabetes.schema)
    stiffer = baseline(
        "task=regression",
        "dataset={source: sklearn, name: diabetes, target: progression}",
        "train={estimator: sklearn.linear_model.Ridge, params: {alpha: 500}}",
        "evaluate={primary_metric: rmse}",
    )
    assert content is not None
    report = check_parity(content, stiffer.model, diabetes.schema.select(diabetes.train), diabetes.schema)
    assert "predictions differ by" in report.reason


def test_golden_rows_are_spread_over_the_targets(iris: Trained) -> None:
    golden = record_golden(iris.model, iris.train, iris.schema)
    assert len(golden.rows) == 8
    assert set(golden.predictions) == {"setosa", "versicolor", "virginica"}


def test_golden_rows_with_gaps_survive_json(mixed: Trained) -> None:
    golden = record_golden(mixed.model, mixed.train, mixed.schema)
    again = Golden.model_validate_json(golden.model_dump_json())
    assert again == golden
    assert golden_difference(mixed.model, again, mixed.schema).within(TOLERANCE)


def test_a_model_with_other_predictions_fails_the_golden_check(
    iris_package: tuple[Path, str], diabetes: Trained
) -> None:
    package = load_package(*iris_package)
    with pytest.raises(PackageError, match="probabilities differ by"):
        verify_package(replace(package, model=baseline("train.params.C=0.5").model))
    wrong: Any = package.golden.model_copy(update={"predictions": ("tulip", *package.golden.predictions[1:])})
    with pytest.raises(PackageError, match=r"golden rows: 1 of 8 labels differ"):
        verify_package(replace(package, golden=wrong))
    numbers = record_golden(diabetes.model, diabetes.train, diabetes.schema)
    assert golden_difference(diabetes.model, numbers, diabetes.schema).within(TOLERANCE)
    moved = numbers.model_copy(update={"predictions": tuple(float(p) + 1 for p in numbers.predictions)})
    assert not golden_difference(diabetes.model, moved, diabetes.schema).within(TOLERANCE)
