"""Reports drawn by the real Evidently, in its own process, of rows from the store."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config.reporting import ReportingConfig
from ratchet.errors import RatchetError, StateError
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.monitoring.drift.report import compare_window
from ratchet.monitoring.label_bias import LabelCheck
from ratchet.monitoring.production_rows import LabelledRow, PredictedRow
from ratchet.monitoring.reports import job as report_job
from ratchet.monitoring.reports.record_files import write_records
from ratchet.monitoring.reports.report import _publish, _read, _reason, check_drift, draw
from ratchet.monitoring.reports.rows import ReportRows, report_rows
from ratchet.monitoring.reports.version_rows import VersionRows
from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from tests.fitted import Trained, baseline, packaged

CONFIG = ReportingConfig(pipeline="reporting")


@cache
def package_of(trained: int) -> Package:
    """Return the package of a trained model, by its ``id``."""
    with tempfile.TemporaryDirectory() as folder:
        return load_package(*packaged(TRAINED[trained], Path(folder)))


# By id: a frozen dataclass with frames has no hash.
TRAINED: dict[int, Trained] = {}


def subject(trained: Trained) -> VersionRows:
    TRAINED[id(trained)] = trained
    version = Version(trained.config.model, "3", "run", "digest", "Production")
    return VersionRows(version, package_of(id(trained)), trained.train, trained.holdout)


def answered(trained: Trained, rows: pd.DataFrame) -> tuple[list[PredictedRow], list[LabelledRow]]:
    """Return the rows as the store returns them, newest first, all labelled."""
    features = trained.schema.select(rows)
    predictions = trained.model.predict(features).tolist()
    truths = rows[trained.schema.target].tolist()
    records = json.loads(features.to_json(orient="records"))
    predicted = [
        PredictedRow(f"{at:036d}", "3", record, prediction, None)
        for at, (record, prediction) in enumerate(zip(records, predictions, strict=True))
    ]
    labelled = [
        LabelledRow(*row, target=truth, correct=None, seq=at, created_at=0.0)
        for at, (row, truth) in enumerate(zip(predicted, truths, strict=True))
    ]
    return predicted[::-1], labelled[::-1]


def prepared(trained: Trained, rows: pd.DataFrame, config: ReportingConfig = CONFIG) -> ReportRows:
    return reported(trained, *answered(trained, rows), config)


def reported(
    trained: Trained,
    predicted: list[PredictedRow],
    labelled: list[LabelledRow],
    config: ReportingConfig = CONFIG,
    labels: LabelCheck | None = None,
) -> ReportRows:
    return report_rows(
        subject(trained), predicted, labelled, config, check_drift(subject(trained), predicted, config), labels
    )


def drawn(rows: ReportRows, folder: Path) -> list[dict[str, Any]]:
    """Draw a report; return everything that Evidently computed."""
    rows.write(folder)
    draw(folder)
    assert (folder / report_job.HTML).read_text().lstrip().startswith("<!DOCTYPE html>")
    return json.loads((folder / report_job.CONTENT).read_text())["metrics"]


def values(metrics: list[dict[str, Any]], metric: str, name: str) -> dict[str, Any]:
    """Return the values of a metric, by one of its parameters."""
    found = [m for m in metrics if m["config"]["type"] == f"evidently:metric_v2:{metric}"]
    return {m["config"].get(name): m["value"] for m in found}


@pytest.fixture(scope="session")
def worst(mixed: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportRows, list[dict[str, Any]]]:
    """A window with every unusual property at once."""
    rows = mixed.train.head(40).assign(age=None, plan="gold", left="no")
    prepared_rows = prepared(mixed, rows)
    return prepared_rows, drawn(prepared_rows, tmp_path_factory.mktemp("worst"))


def test_each_unusual_property_of_the_rows_is_a_note(worst: tuple[ReportRows, list[Any]]) -> None:
    rows, metrics = worst
    assert rows.notes == (
        "all 40 labelled rows are of one class, 'no'",
        "column 'age': no value in 40 rows in production; it is left out",
        "column 'plan': 'gold' in all 40 rows in production",
        "column 'plan': never seen in training: 'gold' (40 rows)",
    )
    drift = values(metrics, "ValueDrift", "column")
    assert set(drift) == {"plan", "prediction"}
    assert drift["plan"] > 1


def test_the_method_is_the_same_for_every_column(worst: tuple[ReportRows, list[Any]]) -> None:
    _, metrics = worst
    assert set(values(metrics, "ValueDrift", "method")) == {"psi"}
    assert set(values(metrics, "ValueDrift", "threshold")) == {0.2}


def test_biased_labels_are_noted(iris: Trained) -> None:
    predicted, labelled = answered(iris, iris.holdout)
    check = LabelCheck(evidence="none", biased=True, n_rows=30, n_labelled=30, reason="labels depend on the answer")
    notes = reported(iris, predicted, labelled, labels=check).notes
    assert notes[0] == "the quality on labelled rows is not that on all rows: labels depend on the answer"
    unbiased = check.model_copy(update={"biased": False})
    assert not any("all rows" in note for note in reported(iris, predicted, labelled, labels=unbiased).notes)


def test_a_constant_column_of_numbers_is_noted(iris: Trained) -> None:
    notes = prepared(iris, iris.holdout.assign(petal_width=0.2)).notes
    assert notes == ("column 'petal_width': 0.2 in all 30 rows in production",)


@pytest.mark.slow
def test_a_regression_has_its_own_metrics(diabetes: Trained, tmp_path: Path) -> None:
    rows = prepared(diabetes, diabetes.holdout)
    metrics = drawn(rows, tmp_path)
    assert values(metrics, "Figure", "figure") == {name: value for name, (value, _) in rows.job.figures.items()}
    assert set(rows.job.figures) == {"mae", "rmse", "r2", "mape"}
    assert rows.job.figures["rmse"][0] == pytest.approx(rows.job.figures["rmse"][1])
    assert panels(tmp_path) >= {"Mean absolute error", "Root mean squared error", "R²", "Share of drifted columns"}


@pytest.fixture(scope="session")
def overfit(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A forest that repeats the noisy targets of its training rows."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1200, 3))
    rows = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=x[:, 0] + generator.normal(scale=3.0, size=1200))
    path = tmp_path_factory.mktemp("overfit") / "rows.csv"
    rows.to_csv(path, index=False)
    return baseline(
        "task=regression",
        f"dataset={{source: csv, path: {path}, target: y}}",
        "split.test_size=0.4",
        "train={estimator: sklearn.ensemble.RandomForestRegressor, params: {n_estimators: 20}}",
        "evaluate={primary_metric: rmse}",
    )


def test_the_reference_of_the_predictions_are_held_out_rows(overfit: Trained) -> None:
    config = ReportingConfig(pipeline="reporting", rows=100)
    rows = prepared(overfit, overfit.holdout, config)
    reference = rows.frames[report_job.PREDICTIONS[0]][report_job.PREDICTION]
    predicted = overfit.model.predict(overfit.schema.select(overfit.holdout))
    assert len(reference) == 100
    assert set(reference) <= set(predicted.tolist())


@pytest.mark.slow
def test_predictions_of_an_overfit_model_do_not_drift_without_drift(overfit: Trained, tmp_path: Path) -> None:
    """Of both the report and the drift check; the PSI against predictions of the training rows is 0.19, not 0.04."""
    generator = np.random.default_rng(1)
    rows = pd.DataFrame(generator.normal(size=(800, 3)), columns=["a", "b", "c"])
    new = rows.assign(y=rows["a"] + generator.normal(scale=3.0, size=800))
    figure = values(drawn(prepared(overfit, new), tmp_path), "ValueDrift", "column")["prediction"]
    assert figure < 0.1
    package = load_package(*packaged(overfit, tmp_path / "package"))
    (prediction,) = compare_window(rows, None, package, overfit.config.drift, "3").predictions
    assert prediction.figure < 0.1
    assert not prediction.drifted


@pytest.mark.slow
def test_the_page_has_the_figures_and_verdicts_of_the_drift_check(iris: Trained, tmp_path: Path) -> None:
    """Of rows of which one column drifted; Evidently's own PSI would mark others as well."""
    rows = iris.train.sample(100, random_state=0).assign(sepal_width=lambda frame: frame["sepal_width"] + 2)
    ready = prepared(iris, rows)
    drift = check_drift(subject(iris), answered(iris, rows)[0], CONFIG)
    assert drift.drifted == ("sepal_width",)
    metrics = drawn(ready, tmp_path)
    shown = values(metrics, "ValueDrift", "column")
    assert shown.pop("prediction") == pytest.approx(drift.predictions[0].figure)
    assert shown == pytest.approx(drift.figures)
    (counted,) = values(metrics, "DriftedColumnsCount", "threshold").values()
    assert counted == {"count": 1, "share": 0.25}
    page = (tmp_path / report_job.HTML).read_text()
    assert page.count("Data drift detected") == 1
    report = _read(tmp_path, ready, drift, "")
    assert (report.drifted, report.drift_share) == (("sepal_width",), 0.25)


@pytest.mark.slow
def test_of_too_few_rows_neither_page_nor_figures_say_that_anything_drifts(iris: Trained, tmp_path: Path) -> None:
    rows = iris.holdout.head(3)
    ready = prepared(iris, rows)
    drift = check_drift(subject(iris), answered(iris, rows)[0], CONFIG)
    metrics = drawn(ready, tmp_path)
    report = _read(tmp_path, ready, drift, "")
    assert report.verdict == "too few rows to tell: 3, 20 are needed"
    assert (report.drift, report.drifted, report.drift_share, report.prediction_drift) == ({}, (), None, None)
    assert "quality: too few rows to tell: 3 labelled, 30 are needed" in report.notes
    assert values(metrics, "ValueDrift", "column") == values(metrics, "DriftedColumnsCount", "threshold") == {}
    assert values(metrics, "TooFewRows", "reason") == {report.verdict: 3}
    page = (tmp_path / report_job.HTML).read_text()
    assert report.verdict in page
    assert "rift detected" not in page.replace("not detected", "")


def panels(folder: Path) -> set[str]:
    (dashboard,) = (folder / report_job.WORKSPACE).glob("*/dashboard.json")
    return {panel["title"] for panel in json.loads(dashboard.read_text())["panels"]}


def test_without_labels_quality_is_left_out(iris: Trained) -> None:
    predicted, _ = answered(iris, iris.holdout)
    rows = reported(iris, predicted, [])
    assert rows.job.figures == {}
    assert rows.notes == ("no prediction has a label yet: quality is not measured",)


def test_rows_marked_as_wrong_count_as_wrong(iris: Trained) -> None:
    predicted, labelled = answered(iris, iris.train)
    wrong = [row._replace(target=None, correct=False) for row in labelled[:12]]
    right = [row._replace(target=row.prediction) for row in labelled[12:]]
    rows = reported(iris, predicted, [*wrong, *right])
    assert rows.job.figures["accuracy"][0] == 0.9, "as watch measures it"
    frame = rows.frames[report_job.LABELLED]
    assert ((frame[report_job.TARGET] != frame[report_job.PREDICTION]).sum(), len(frame)) == (12, 120)
    assert (rows.predictions, rows.labelled) == (120, 108)
    assert rows.notes == ("12 rows are only marked as wrong: the most probable other class is taken as their label",)


def test_regression_rows_marked_as_wrong_are_left_out(diabetes: Trained) -> None:
    predicted, labelled = answered(diabetes, diabetes.holdout)
    wrong = labelled[0]._replace(target=None, correct=False)
    assert reported(diabetes, predicted, [wrong, *labelled[1:]]).notes == (
        "1 rows are left out: their label is unknown",
    )


def test_a_regression_with_whole_numbers_has_its_metrics(diabetes: Trained) -> None:
    predicted, labelled = answered(diabetes, diabetes.holdout)
    whole = [row._replace(prediction=150, target=152) for row in labelled]
    figures = reported(diabetes, predicted, whole).job.figures
    assert (figures["mae"][0], figures["rmse"][0]) == (2.0, 2.0)


def test_a_class_that_never_occurs_is_not_averaged_over(iris: Trained) -> None:
    predicted, labelled = answered(iris, iris.holdout)
    one_class = [row._replace(target="setosa", prediction="setosa") for row in labelled]
    one_class[0] = one_class[0]._replace(prediction="virginica")
    assert reported(iris, predicted, one_class).job.figures["precision_macro"][0] == 1.0


def test_more_rows_than_the_budget_are_sampled_with_the_seed(iris: Trained) -> None:
    few, again, other = (
        prepared(iris, iris.train, CONFIG.model_copy(update={"rows": 50, "seed": seed})) for seed in (1, 1, 2)
    )
    name = report_job.FEATURES[1]
    sizes = {name: len(frame) for name, frame in few.frames.items()}
    assert sizes.pop(report_job.PREDICTIONS[0]) == len(iris.holdout) == 30
    assert {*sizes.values()} == {50}
    assert few.frames[name].equals(again.frames[name])
    assert not few.frames[name].equals(other.frames[name])
    assert (few.predictions, few.labelled) == (120, 120)
    assert few.job.figures == other.job.figures, "figures are of all rows of the window"


def test_a_feature_named_prediction_does_not_collide_with_the_predictions(iris: Trained, tmp_path: Path) -> None:
    path = tmp_path / "iris.csv"
    iris.train.rename(columns={"petal_width": "prediction"}).to_csv(path, index=False)
    trained = baseline(f"dataset={{source: csv, path: {path}, target: species}}")
    rows = prepared(trained, trained.holdout)
    assert rows.job.numbers[-1] == "prediction (feature)"
    assert rows.frames[report_job.FEATURES[1]].columns[-1] == "prediction (feature)"


def test_a_report_that_takes_too_long_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.monitoring.reports.report.TIMEOUT", 0.1)
    with pytest.raises(RatchetError, match="not drawn within 0.1 s"):
        draw(tmp_path)


@pytest.mark.parametrize(
    ("status", "errors", "reason"),
    [
        (1, "a warning\nValueError: no rows\n", "ValueError: no rows"),
        (3, "", "its process ended with status 3"),
        (-9, "a warning\n", "its process was ended by SIGKILL"),
    ],
)
def test_the_reason_of_a_failed_report_is_one_line(status: int, errors: str, reason: str) -> None:
    assert _reason(subprocess.CalledProcessError(status, "worker", stderr=errors)) == reason


def test_a_later_report_keeps_the_users_panels(tmp_path: Path) -> None:
    for number in (1, 2):
        made = tmp_path / f"made{number}" / "project"
        (made / "snapshots").mkdir(parents=True)
        (made / "dashboard.json").write_text(str(number))
        (made / "snapshots" / f"{number}.json").write_text("{}")
        _publish(made.parent, tmp_path / "workspace")
    project = tmp_path / "workspace" / "project"
    assert (project / "dashboard.json").read_text() == "1"
    assert sorted(path.name for path in (project / "snapshots").iterdir()) == ["1.json", "2.json"]


def test_the_record_files_hold_the_input_of_the_estimator(iris: Trained, tmp_path: Path) -> None:
    _, labelled = answered(iris, iris.holdout)
    write_records(
        Settings(data_dir=tmp_path / "data"), subject(iris), [labelled[0]._replace(target=None), *labelled[1:]]
    )
    reference, production = (pd.read_csv(tmp_path / "data" / f"{name}_data.csv") for name in ("ref", "prod"))
    assert list(reference.columns) == ["PCA_1", "PCA_2", "PCA_3", "target"]
    assert list(production.columns) == ["PCA_1", "PCA_2", "PCA_3", "target", "prediction"]
    assert reference["target"].tolist() == iris.train["species"].tolist()
    assert production["target"].tolist() == iris.holdout["species"].tolist()[:-1]
    estimator = iris.model.named_steps["model"]
    assert estimator.predict(production.filter(like="PCA").to_numpy()).tolist() == production["prediction"].tolist()


def test_without_labels_the_production_file_has_a_header_only(iris: Trained, tmp_path: Path) -> None:
    assert write_records(Settings(data_dir=tmp_path), subject(iris), []).endswith("prod_data.csv (0 rows)")
    assert (tmp_path / "prod_data.csv").read_text() == "PCA_1,PCA_2,PCA_3,target,prediction\n"


def test_record_files_that_cannot_be_written_raise(iris: Trained, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StateError, match=r"data: cannot be written \(File exists\): set RATCHET_DATA_DIR"):
        write_records(Settings(data_dir=tmp_path / "data"), subject(iris), [])


def test_a_record_file_that_cannot_be_replaced_leaves_no_temporary_file(iris: Trained, tmp_path: Path) -> None:
    (tmp_path / "ref_data.csv").mkdir()
    with pytest.raises(StateError, match="Is a directory"):
        write_records(Settings(data_dir=tmp_path), subject(iris), [])
    assert [path.name for path in tmp_path.iterdir()] == ["ref_data.csv"]
