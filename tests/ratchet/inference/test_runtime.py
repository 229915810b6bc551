from __future__ import annotations

import json
import shutil
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from ratchet.data import Schema
from ratchet.data.fingerprint import file_sha256
from ratchet.errors import ConfigError, InputError, PackageError
from ratchet.inference.engines import SklearnEngine
from ratchet.inference.runtime import Runtime, load_file, load_runtime
from ratchet.model.package.model_files import export_model
from ratchet.model.record_schema import Record
from tests.fitted import Trained, baseline, packaged, sealed_again

FOREST = "train={estimator: sklearn.ensemble.RandomForestClassifier, params: {n_estimators: 5}}"
NO_EXPORT = "train={estimator: sklearn.ensemble.HistGradientBoostingClassifier, params: {max_iter: 3}}"
TOO_FAR = "is too far outside the range of the training data"


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model whose labels are numbers that are not their places."""
    generator = np.random.default_rng(0)
    size = generator.uniform(0, 10, 150)
    rows = pd.DataFrame(
        {"size": size, "noise": generator.normal(size=150), "grade": np.digitize(size, [3, 7]) * 10 + 7}
    )
    path = tmp_path_factory.mktemp("numbered") / "grades.csv"
    rows.to_csv(path, index=False)
    return baseline(f"dataset={{source: csv, path: {path}, target: grade}}", "embed={reducer: none}")


@pytest.fixture(scope="session")
def numbered_package(numbered: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return packaged(numbered, tmp_path_factory.mktemp("package") / "numbered")


@pytest.fixture(scope="session")
def unexported_package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A package without an ONNX export."""
    return packaged(baseline(NO_EXPORT), tmp_path_factory.mktemp("package") / "unexported")


@pytest.fixture
def package(iris_package: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    """A copy of the baseline's package, to be damaged."""
    return Path(shutil.copytree(iris_package[0], tmp_path / "copy")), iris_package[1]


def load(package: tuple[Path, str], **options: Any) -> Runtime:
    return load_runtime(*package, model="m", version="3", **options)


def records_of(trained: Trained, schema: Schema | None = None) -> list[Record]:
    """The holdout as clients would send it."""
    rows = trained.holdout[(schema or trained.schema).feature_names].astype(object)
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows.to_dict("records")
    ]


@pytest.mark.parametrize("name", ["iris", "mixed", "diabetes", "numbered"])
def test_onnx_and_scikit_learn_give_the_same_answers(name: str, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(name)
    fast = load(request.getfixturevalue(f"{name}_package"))
    slow = replace(fast, engine=SklearnEngine(trained.model, trained.schema), engine_name="scikit-learn")
    assert fast.engine_name == "onnx"
    records = records_of(trained)
    for got, expected in zip(fast.predict(records), slow.predict(records), strict=True):
        assert type(got.prediction) is type(expected.prediction)
        if trained.schema.labels is None:
            assert got.prediction == pytest.approx(expected.prediction, rel=1e-4)
            assert got.score is got.probabilities is expected.score is expected.probabilities is None
            continue
        assert got.prediction == expected.prediction
        assert got.probabilities == pytest.approx(expected.probabilities, abs=1e-4)


@pytest.mark.parametrize("name", ["iris", "mixed", "numbered"])
def test_the_score_is_the_probability_of_what_is_predicted(name: str, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(name)
    runtime = load(request.getfixturevalue(f"{name}_package"))
    assert trained.schema.labels
    expected = trained.model.predict(trained.schema.select(trained.holdout)).tolist()
    answers = runtime.predict(records_of(trained))
    assert [answer.prediction for answer in answers] == expected
    assert len(set(expected)) == len(trained.schema.labels)
    for answer in answers:
        assert answer.probabilities is not None
        assert list(answer.probabilities) == [str(label) for label in trained.schema.labels]
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert answer.score == answer.probabilities[str(answer.prediction)] == max(answer.probabilities.values())


def test_one_record_is_answered_as_it_is_among_many(iris: Trained, iris_package: tuple[Path, str]) -> None:
    runtime = load(iris_package)
    together = runtime.predict(records_of(iris))
    for record, answer in zip(records_of(iris), together, strict=True):
        (alone,) = runtime.predict([record])
        assert alone.prediction == answer.prediction
        assert alone.score == pytest.approx(answer.score, abs=1e-6)


def test_a_value_that_is_left_out_is_a_missing_one(mixed_package: tuple[Path, str]) -> None:
    runtime = load(mixed_package)
    assert runtime.predict([{}]) == runtime.predict([{"age": None, "plan": None}])
    assert runtime.predict([{"age": 30.0}]) == runtime.predict([{"plan": None, "age": 30.0}])


def test_a_category_that_was_never_seen_is_answered(mixed_package: tuple[Path, str], mixed: Trained) -> None:
    runtime = load(mixed_package)
    (answer,) = runtime.predict([{"age": 30.0, "plan": "a plan that nobody had"}])
    (expected,) = replace(runtime, engine=SklearnEngine(mixed.model, mixed.schema)).predict(
        [{"age": 30.0, "plan": "a plan that nobody had"}]
    )
    assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-4)


def test_a_classifier_without_probabilities_gives_no_score(iris_package: tuple[Path, str]) -> None:
    trained = baseline("train={estimator: sklearn.svm.LinearSVC, params: {}}")
    runtime = replace(load(iris_package), engine=SklearnEngine(trained.model, trained.schema))
    answers = runtime.predict(records_of(trained))
    assert {answer.prediction for answer in answers} == {"setosa", "versicolor", "virginica"}
    assert all(answer.score is None and answer.probabilities is None for answer in answers)


def test_without_an_export_scikit_learn_answers(unexported_package: tuple[Path, str], iris: Trained) -> None:
    runtime = load(unexported_package)
    assert runtime.engine_name == "scikit-learn"
    answers = runtime.predict(records_of(iris))
    assert {answer.prediction for answer in answers} == {"setosa", "versicolor", "virginica"}


def test_a_runtime_has_its_version_schema_and_details(iris_package: tuple[Path, str], iris: Trained) -> None:
    runtime = load(iris_package, most_rows=2, details={"metrics": {"f1_macro": 0.9}})
    assert (runtime.model, runtime.version, runtime.digest) == ("m", "3", iris_package[1])
    assert runtime.schema == iris.schema
    assert runtime.classes == ("setosa", "versicolor", "virginica")
    assert runtime.details == {"metrics": {"f1_macro": 0.9}}
    with pytest.raises(InputError, match="rows: "):
        runtime.reader.read_many(json.dumps({"rows": [runtime.reader.example()] * 3}).encode())


def test_a_runtime_cannot_be_changed(iris_package: tuple[Path, str]) -> None:
    runtime = load(iris_package)
    for name in ("version", "engine", "schema", "reader"):
        with pytest.raises(FrozenInstanceError):
            setattr(runtime, name, None)
    with pytest.raises(AttributeError):
        runtime.predict([runtime.reader.example()])[0].prediction = "tulip"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["model.onnx", "model.skops", "schema.json", "golden.json", "MLmodel"])
def test_a_changed_file_is_refused_by_name(package: tuple[Path, str], name: str) -> None:
    with (package[0] / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(PackageError, match=f"{name}: differs from the manifest"):
        load(package)


def test_a_missing_file_is_refused_by_name(package: tuple[Path, str]) -> None:
    (package[0] / "model.onnx").unlink()
    with pytest.raises(PackageError, match=r"model.onnx: missing from the package"):
        load(package)


def test_another_digest_than_the_registered_one_is_refused(package: tuple[Path, str]) -> None:
    with pytest.raises(PackageError, match="differs from the digest recorded at registration"):
        load((package[0], "0" * 64))


def nudged(golden: dict[str, Any]) -> None:
    first, *rest = golden["probabilities"][0]
    golden["probabilities"][0] = [first - 0.001, rest[0] + 0.001, *rest[1:]]


def relabelled(golden: dict[str, Any]) -> None:
    golden["predictions"][0] = next(label for label in golden["predictions"] if label != golden["predictions"][0])


@pytest.mark.parametrize("kind", ["iris", "unexported"])
def test_a_package_that_fails_its_golden_predictions_is_refused(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    original: tuple[Path, str] = request.getfixturevalue(f"{kind}_package")
    for change, message in (
        (nudged, r"m version 3: golden rows: probabilities differ by 0.001 from those at training, allowed is "),
        (relabelled, r"m version 3: golden rows: 1 of 8 labels differ from those at training"),
    ):
        folder = Path(shutil.copytree(original[0], tmp_path / change.__name__))
        with pytest.raises(PackageError, match=message):
            load((folder, sealed_again(folder, "golden.json", change)))


def test_a_regression_that_fails_its_golden_values_is_refused(
    diabetes_package: tuple[Path, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(diabetes_package[0], tmp_path / "copy"))

    def moved(golden: dict[str, Any]) -> None:
        golden["predictions"][3] += 1

    with pytest.raises(PackageError, match="golden rows: predictions differ by"):
        load((folder, sealed_again(folder, "golden.json", moved)))


def test_a_package_that_computes_nothing_is_refused(package: tuple[Path, str]) -> None:
    def far(golden: dict[str, Any]) -> None:
        golden["rows"][0]["petal_length"] = 3e38

    with pytest.raises(PackageError, match="golden"):
        load((package[0], sealed_again(package[0], "golden.json", far)))


def test_a_value_too_far_from_the_training_data_is_refused_by_its_name(
    iris_package: tuple[Path, str], diabetes_package: tuple[Path, str]
) -> None:
    for package, name in ((iris_package, "petal_length"), (diabetes_package, "bmi")):
        runtime = load(package)
        near = runtime.reader.example()
        far = {**near, runtime.schema.feature_names[0]: 1e30, name: 3.4e38}
        with pytest.raises(InputError) as alone:
            runtime.predict([far])
        assert [(problem.field, problem.message) for problem in alone.value.problems] == [(name, TOO_FAR)]
        with pytest.raises(InputError) as among:
            runtime.predict([near, near, far])
        assert [problem.field for problem in among.value.problems] == [f"rows[2].{name}"]


@pytest.fixture
def exported(iris: Trained, tmp_path: Path) -> Path:
    """The files that training exports."""
    export_model(tmp_path / "flowers", iris.model, iris.schema, {"metrics": {"f1_macro": 0.9}, "seed": 1})
    return tmp_path / "flowers" / "model.joblib"


def test_a_file_is_served_with_a_warning(
    exported: Path, iris: Trained, iris_package: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    runtime = load_file(exported, most_rows=7)
    assert f"serving {exported}, a local file whose origin is not verified" in caplog.text
    assert caplog.records[0].levelname == "WARNING"
    assert (runtime.model, runtime.engine_name, runtime.golden) == ("flowers", "scikit-learn", None)
    assert runtime.digest == file_sha256(exported)
    assert runtime.digest.startswith(runtime.version)
    assert (runtime.schema, runtime.most_rows) == (iris.schema, 7)
    assert runtime.details == {"metrics": {"f1_macro": 0.9}}
    fast = load(iris_package).predict(records_of(iris))
    for got, expected in zip(runtime.predict(records_of(iris)), fast, strict=True):
        assert got.prediction == expected.prediction


def test_a_file_without_a_schema_takes_numbers_for_its_fitted_features(exported: Path, iris: Trained) -> None:
    described = load_file(exported)
    exported.with_name("schema.json").unlink()
    exported.with_name("metrics.json").unlink()
    runtime = load_file(exported)
    assert runtime.schema.feature_names == iris.schema.feature_names
    assert runtime.classes == described.classes
    assert runtime.details == {}
    assert runtime.predict(records_of(iris)) == described.predict(records_of(iris))
    record = records_of(iris)[0]
    assert runtime.reader.read(json.dumps(record).encode()) == record


@pytest.mark.parametrize("name", ["mixed", "diabetes", "numbered"])
def test_any_exported_model_can_be_served(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(name)
    export_model(tmp_path, trained.model, trained.schema, {})
    answers = load_file(tmp_path / "model.joblib").predict(records_of(trained))
    expected = trained.model.predict(trained.schema.select(trained.holdout)).tolist()
    assert [answer.prediction for answer in answers] == expected


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"MODEL_PATH: there is no file .*none\.joblib; training writes models/"):
        load_file(tmp_path / "none.joblib")
    with pytest.raises(ConfigError, match="MODEL_PATH: there is no file"):
        load_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"PK\x03\x04 a zip", b"\x80\x04\x95\xff\xff", b"\0" * 99])
def test_a_file_that_is_no_model_is_an_error(exported: Path, content: bytes) -> None:
    exported.write_bytes(content)
    with pytest.raises(PackageError, match=r"model\.joblib: cannot be loaded"):
        load_file(exported)


def test_a_truncated_file_is_an_error(exported: Path) -> None:
    content = exported.read_bytes()
    for length in range(0, len(content) - 1, 37):
        exported.write_bytes(content[:length])
        with pytest.raises(PackageError, match=r"model\.joblib: cannot be loaded"):
            load_file(exported)


@pytest.mark.parametrize("thing", [{"a": "dictionary"}, ["a list"], None])
def test_a_file_with_another_object_is_an_error(exported: Path, thing: object) -> None:
    joblib.dump(thing, exported)
    with pytest.raises(PackageError, match=r"model\.joblib"):
        load_file(exported)
    exported.with_name("schema.json").unlink()
    with pytest.raises(PackageError, match="the model has no feature names"):
        load_file(exported)


def test_a_model_without_feature_names_is_an_error(iris: Trained, tmp_path: Path) -> None:
    features = iris.schema.select(iris.train).to_numpy()
    nameless = baseline(FOREST).model.named_steps
    estimator = list(nameless.values())[-1]
    joblib.dump(
        Pipeline([("estimator", estimator.fit(features, iris.train[iris.schema.target]))]), tmp_path / "m.joblib"
    )
    with pytest.raises(PackageError, match="the model has no feature names, and there is no schema.json"):
        load_file(tmp_path / "m.joblib")


def test_a_schema_that_is_broken_or_of_another_model_is_an_error(exported: Path, diabetes: Trained) -> None:
    beside = exported.with_name("schema.json")
    for content in ("{", "[]", "{}", diabetes.schema.model_dump_json()):
        beside.write_text(content)
        with pytest.raises(PackageError, match=r"model\.joblib"):
            load_file(exported)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_a_file_refuses_a_value_too_far_from_the_training_data_like_a_package(tmp_path: Path) -> None:
    trained = baseline(FOREST)
    export_model(tmp_path, trained.model, trained.schema, {})
    runtime = load_file(tmp_path / "model.joblib")
    far = {**runtime.reader.example(), "petal_length": -3.4e38, "petal_width": -3.3e38}
    with pytest.raises(InputError) as caught:
        runtime.predict([far])
    assert [(problem.field, problem.message) for problem in caught.value.problems] == [("petal_width", TOO_FAR)]
