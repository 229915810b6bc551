"""Scores of an exported model equal those of its training run, in files that DVC compares."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ratchet.errors import ConfigError, PackageError
from ratchet.model.evaluation import evaluate_model
from ratchet.model.package.model_files import export_model
from ratchet.model.score_export import ExportScores, score_export, write_scores
from tests.fitted import Trained, baseline, fit


@pytest.fixture
def exported(iris: Trained, tmp_path: Path) -> Path:
    export_model(tmp_path / "iris", iris.model, iris.schema, {})
    return tmp_path / "iris"


def test_the_figures_are_those_of_the_training_run(iris: Trained, exported: Path) -> None:
    then = evaluate_model(iris.model, iris.holdout, iris.schema, iris.config.evaluate, iris.config.seed)
    assert score_export(iris.config, exported).evaluation == then


def test_a_regression_has_its_numbers_side_by_side(diabetes: Trained, tmp_path: Path) -> None:
    export_model(tmp_path, diabetes.model, diabetes.schema, {})
    scores = score_export(diabetes.config, tmp_path)
    assert (scores.predictions["truth"] == diabetes.holdout["progression"]).all()
    assert ((scores.predictions["truth"] - scores.predictions["prediction"]) ** 2).mean() ** 0.5 == pytest.approx(
        scores.evaluation.primary
    )


def test_classes_stand_by_name_one_row_for_each_that_was_held_out(iris: Trained, exported: Path) -> None:
    predictions = score_export(iris.config, exported).predictions
    assert list(predictions.columns) == ["truth", "prediction"]
    assert list(predictions["truth"]) == list(iris.holdout["species"])
    right = (predictions["truth"] == predictions["prediction"]).mean()
    assert right == score_export(iris.config, exported).evaluation.metrics["accuracy"]


def written(scores: ExportScores, folder: Path) -> tuple[bytes, bytes]:
    write_scores(scores, folder / "iris.json", folder / "deep" / "iris.csv")
    return (folder / "iris.json").read_bytes(), (folder / "deep" / "iris.csv").read_bytes()


def test_training_again_gives_the_same_bytes(iris: Trained, exported: Path, tmp_path: Path) -> None:
    again = fit(iris.config)
    export_model(tmp_path / "again", again.model, again.schema, {})
    assert (tmp_path / "again" / "model.joblib").read_bytes() == (exported / "model.joblib").read_bytes()
    first = written(score_export(iris.config, exported), tmp_path / "first")
    assert written(score_export(iris.config, tmp_path / "again"), tmp_path / "second") == first


def test_a_forest_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    config = baseline("train={estimator: sklearn.ensemble.RandomForestClassifier, params: {n_estimators: 5}}").config
    for name in ("first", "second"):
        trained = fit(config)
        export_model(tmp_path / name, trained.model, trained.schema, {})
    first, second = ((tmp_path / name / "model.joblib").read_bytes() for name in ("first", "second"))
    assert first == second


def test_the_figures_are_flat_numbers_with_the_interval(iris: Trained, exported: Path, tmp_path: Path) -> None:
    scores = score_export(iris.config, exported)
    figures = json.loads(written(scores, tmp_path)[0])
    assert figures["rows"] == 30
    assert figures["f1_macro_low"] <= figures["f1_macro"] <= figures["f1_macro_high"]
    assert all(isinstance(value, int | float) for value in figures.values())
    assert len(pd.read_csv(tmp_path / "deep" / "iris.csv")) == 30


def test_a_missing_export_is_refused_with_the_command_that_makes_it(iris: Trained, exported: Path) -> None:
    (exported / "schema.json").unlink()
    with pytest.raises(ConfigError, match=r"there is no file .*schema\.json: train with this config first"):
        score_export(iris.config, exported)


def test_a_damaged_export_is_one_line(iris: Trained, exported: Path) -> None:
    (exported / "model.joblib").write_bytes(b"no model")
    with pytest.raises(PackageError, match=r"model\.joblib: cannot be loaded"):
        score_export(iris.config, exported)


def test_the_model_of_another_data_set_is_refused(diabetes: Trained, exported: Path) -> None:
    with pytest.raises(ConfigError, match=r"species from sepal_length.*progression from age.*train with this config"):
        score_export(diabetes.config, exported)
