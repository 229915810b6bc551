"""Unusual production rows: each has a note, without an error and without a false alarm."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Drift
from ratchet.data.fingerprint import file_sha256
from ratchet.model.package.profiling import profile_model, profile_rows
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.monitoring.drift.log_drift import drift_metrics
from ratchet.monitoring.drift.report import DriftReport, compare_window
from ratchet.tracking.keys import column_key
from tests.fitted import Trained

METHODS = ("psi", "ks", "jensen_shannon", "chi_square")


@pytest.fixture(scope="module")
def package(mixed_package: tuple[Path, str]) -> Package:
    return load_package(*mixed_package)


def judged(package: Package, rows: pd.DataFrame, predictions: list[Any] | None = None, **config: Any) -> DriftReport:
    report = compare_window(rows, predictions, package, Drift.model_validate(config), "1")
    json.dumps(report.model_dump(mode="json"), allow_nan=False)
    return report


@pytest.mark.parametrize("method", METHODS)
def test_an_empty_window_is_not_compared(package: Package, method: str) -> None:
    report = judged(package, pd.DataFrame({"age": [], "plan": []}), [], method=method)
    assert (report.detected, report.figures) == (False, {})
    assert report.notes == ("too few rows: the window has 0, 20 are required; nothing was compared",)


@pytest.mark.parametrize("method", METHODS)
def test_a_window_of_a_few_rows_is_not_compared(package: Package, mixed: Trained, method: str) -> None:
    report = judged(package, mixed.holdout.head(19), method=method)
    assert (report.detected, report.n_rows) == (False, 19)
    assert report.notes[0] == "too few rows: the window has 19, 20 are required; nothing was compared"
    assert report.summary == "too few rows to tell: 19, 20 are needed"
    assert not report.has_verdict
    assert drift_metrics(report) == {}


@pytest.mark.parametrize("method", METHODS)
def test_records_as_the_service_stores_them_are_compared(package: Package, mixed: Trained, method: str) -> None:
    records = json.loads(mixed.train[["plan", "age"]].to_json(orient="records"))
    records[0] = {"age": 50, "plan": None}
    report = judged(package, pd.DataFrame(records, dtype=object), method=method)
    assert (report.detected, report.drifted) == (False, ())
    assert len(report.figures) == 2
    assert len(report.embedded) == 5
    assert [column.name for column in report.predictions] == ["prediction"]


@pytest.mark.parametrize("method", METHODS)
def test_predictions_of_one_class_are_noted_and_drift_only_if_significant(
    package: Package, mixed: Trained, method: str
) -> None:
    rows, line = mixed.train.head(30), "prediction: constant, every value is 'no'"
    for counts, expected in (((150, 10, 0), False), ((80, 80, 0), True)):
        column = package.profile.predictions[0].model_copy(update={"counts": counts})
        one = replace(package, profile=package.profile.model_copy(update={"predictions": (column,)}))
        report = judged(one, rows, ["no"] * 30, method=method, domain_auc=None)
        assert line in report.notes
        assert report.detected == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_always_predicts_one_class_is_no_drift(package: Package, mixed: Trained, method: str) -> None:
    column = package.profile.predictions[0].model_copy(update={"counts": (160, 0, 0)})
    single = replace(package, profile=package.profile.model_copy(update={"predictions": (column,)}))
    report = judged(single, mixed.train, ["no"] * len(mixed.train), method=method)
    assert not report.detected
    assert report.predictions[0].p_value == 1
    assert "prediction: constant, every value is 'no'" in report.notes


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_column_is_noted_and_drift_only_if_training_varied(
    package: Package, mixed: Trained, method: str
) -> None:
    report = judged(package, mixed.train.assign(age=50.0), method=method)
    assert report.drifted == ("age",)
    assert "age: constant, every value is 50" in report.notes
    always = profile_model(mixed.model, mixed.train.assign(age=50.0), mixed.schema)
    same = judged(replace(package, profile=always), mixed.train.assign(age=50), method=method, domain_auc=None)
    assert (same.drifted, same.detected, same.figures["age"]) == ((), False, 0)
    moved = judged(replace(package, profile=always), mixed.train.assign(age=50.1), method=method, domain_auc=None)
    assert moved.drifted == ("age",), "a column that never varied, and now holds another value"


@pytest.mark.parametrize("method", METHODS)
def test_a_column_without_values_is_drift_and_noted(package: Package, mixed: Trained, method: str) -> None:
    for gone in (np.nan, None):
        report = judged(package, mixed.train.assign(age=gone, plan=None), method=method)
        assert report.drifted == ("age", "plan")
        assert {"age: every value is missing", "plan: every value is missing"} <= set(report.notes)


@pytest.mark.parametrize("method", METHODS)
def test_a_column_without_values_in_training_too_is_no_drift(package: Package, mixed: Trained, method: str) -> None:
    rows = mixed.train.assign(age=np.nan)
    profile = package.profile.model_copy(update={"features": profile_rows(rows, mixed.schema).features})
    report = judged(replace(package, profile=profile), rows, method=method, domain_auc=None)
    assert (report.figures["age"], report.p_values["age"]) == (0, 1)
    assert "age" not in report.drifted
    assert "age: every value is missing" in report.notes


def test_missing_values_that_training_did_not_have_are_noted(iris: Trained, iris_package: tuple[Path, str]) -> None:
    rows = iris.train.copy()
    rows.loc[[3, 5], "sepal_width"] = np.nan
    report = judged(load_package(*iris_package), rows)
    assert report.notes == ("sepal_width: 2 rows without a value, none in training",)
    assert not report.detected


@pytest.mark.parametrize("method", METHODS)
def test_an_unseen_category_is_noted_and_is_no_drift_alone(package: Package, mixed: Trained, method: str) -> None:
    rows = mixed.train.copy()
    rows.loc[rows.index[:3], "plan"] = "puce"
    report = judged(package, rows, method=method)
    assert "plan: 3 rows with categories never seen ('puce')" in report.notes
    assert (report.drifted, report.detected) == ((), False)
    half = rows.assign(plan=np.where(np.arange(len(rows)) % 2, "puce", rows["plan"]))
    assert "plan" in judged(package, half, method=method).drifted


def test_many_unseen_categories_are_noted_in_one_line(package: Package, mixed: Trained) -> None:
    report = judged(package, mixed.train.assign(plan=[f"p{i:03d}" for i in range(len(mixed.train))]))
    expected = "plan: 160 rows with categories never seen ('p000', 'p001', 'p002', 'p003', 'p004', …)"
    assert expected in report.notes
    assert "plan" in report.drifted


def test_a_window_without_a_feature_is_compared_in_the_other_features(package: Package, mixed: Trained) -> None:
    report = judged(package, mixed.train[["age"]], ["no"] * len(mixed.train))
    assert list(report.figures) == ["age"]
    assert (report.embedded, report.predictions, report.domain_auc) == ((), (), None)
    assert "plan: absent, or not of type category; not compared" in report.notes


def test_predicted_numbers_are_compared(diabetes: Trained, diabetes_package: tuple[Path, str]) -> None:
    package = load_package(*diabetes_package)
    usual = judged(package, diabetes.holdout)
    assert (usual.detected, [column.name for column in usual.predictions]) == (False, ["prediction"])
    assert judged(package, diabetes.holdout, [300.0] * len(diabetes.holdout)).detected


def test_an_older_package_is_compared_in_the_groups_that_it_has(
    iris: Trained, iris_package: tuple[Path, str], tmp_path: Path
) -> None:
    folder, profile = Path(shutil.copytree(iris_package[0], tmp_path / "old")), "profile.json"
    (folder / "sample.json").unlink()
    old = json.loads((folder / profile).read_text())
    old = {"n_rows": old["n_rows"], "features": old["features"]}
    for feature in old["features"]:
        for key in ("points", "point_counts", "resolution"):
            del feature[key]
    (folder / profile).write_text(json.dumps(old))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["sample.json"]
    manifest["files"][profile] = file_sha256(folder / profile)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    package = load_package(folder, file_sha256(folder / "manifest.json"))
    report = judged(package, iris.train, method="ks")
    assert (package.sample, report.embedded, report.predictions, report.domain_auc) == (None, (), (), None)
    assert report.notes == (
        "not compared, since the package is older or had too few training rows:"
        " embedded features, predictions, domain classifier",
    )
    assert not report.detected


def test_without_a_package_there_is_no_reference_yet(iris: Trained) -> None:
    assert compare_window(iris.train, None, None, Drift(), None).summary == "no reference yet"


def test_a_report_is_logged_with_keys_of_its_columns_and_groups(package: Package, mixed: Trained) -> None:
    metrics = drift_metrics(judged(package, mixed.train))
    age = column_key("age")
    assert {f"drift.{age}", f"drift_p.{age}", "drift_embedded.FEATURE_1", "drift_embedded_p.FEATURE_1"} <= set(metrics)
    assert {"drift_output.prediction", "drift_output_p.prediction", "drift_domain_auc"} <= set(metrics)
    assert (metrics["drift_share"], metrics["drift_detected"]) == (0.0, 0.0)
