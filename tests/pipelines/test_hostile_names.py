"""A data set whose column names and labels no other system would take as a key, from training to comparison."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from pipelines.report_runner import ReportSummary, run_reporting
from pipelines.runner import RunOptions, RunSummary
from ratchet.config import TrainingConfig
from ratchet.config.reporting import ReportingConfig
from ratchet.experiments.comparison.record import log_comparison
from ratchet.experiments.comparison.table import compare
from ratchet.monitoring.reports.version_rows import load_version_rows
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.predictions import insert_predictions
from ratchet.store.tables import feedback
from ratchet.tracking import connect
from ratchet.tracking.keys import column_key
from tests.training_runs import config_for, train_in

MODEL = "hostile"
LONG = "x" * 500
NUMBERS = (LONG, "a/b c", "a_b_c", "..", "100 %", "{date}", "$x_{1}$", "prediction", "label", "1st", "_hidden", "a.b")
CATEGORIES = ('he said "no"', "two\nlines", "emoji 😀", "Ünïcode", "it's; DROP TABLE", "prediction (feature)")
LABELS = ("y" * 500, "../\"q'\n😀 {x} 100 % $a_{b}$")
ROWS = 300

pytestmark = pytest.mark.slow


def write_rows(path: Path, seed: int) -> pd.DataFrame:
    """Rows in which the first number and the first category decide the class of most rows."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({name: generator.normal(size=ROWS).round(3) for name in NUMBERS})
    for name in CATEGORIES:
        frame[name] = generator.choice(["p/q", "😀 r", "{s}", "100 %\n"], ROWS)
    is_second = (frame[LONG] > 0) ^ (frame[CATEGORIES[0]] == "{s}") ^ (generator.random(ROWS) < 0.1)
    frame["class / target"] = np.where(is_second, LABELS[1], LABELS[0])
    frame.to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)
    return frame


def config_of(path: Path, **params: Any) -> TrainingConfig:
    """A config that names hostile columns and labels as keys itself."""
    config = config_for(MODEL)
    values = config.model_dump(mode="json")
    values["dataset"] = {
        "source": "csv",
        "path": str(path),
        "target": "class / target",
        "columns": {LONG: {"type": "number"}, CATEGORIES[1]: {"type": "category"}},
    }
    values["embed"] = {"reducer": "none"}
    values["train"] = {
        "estimator": "sklearn.linear_model.LogisticRegression",
        "params": {"class_weight": dict.fromkeys(LABELS, 1.0), **params},
    }
    values["evaluate"] = {"primary_metric": "accuracy", "minimum": 0.5}
    values["promote"]["latency_ms"] = 10_000
    return TrainingConfig.model_validate(values)


@dataclass(frozen=True)
class Trained:
    """Two runs of one model, the second with new rows and other parameters."""

    settings: Settings
    first: RunSummary
    second: RunSummary


@pytest.fixture(scope="module")
def trained(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("hostile")

    write_rows(folder / "1.csv", 1)
    write_rows(folder / "2.csv", 2)
    first = train_in(settings, config_of(folder / "1.csv"))
    return Trained(settings, first, train_in(settings, config_of(folder / "2.csv", C=0.5)))


def test_a_column_of_500_characters_is_trained_on_more_than_once(trained: Trained) -> None:
    assert trained.first.promotion.outcome == "promoted"
    assert trained.second.drift.reference == trained.first.promotion.version
    assert trained.second.promotion.outcome in ("promoted", "refused")
    run = connect(trained.settings).get_run(trained.second.mlflow_run_id)
    assert run.data.metrics[f"drift.{column_key(LONG)}"] == trained.second.drift.figures[LONG]


def test_no_key_in_mlflow_contains_a_name_of_the_data(trained: Trained) -> None:
    client = connect(trained.settings)
    for summary in (trained.first, trained.second):
        run = client.get_run(summary.mlflow_run_id)
        keys = {*run.data.metrics, *run.data.params, *run.data.tags}
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        for key in keys | files:
            assert len(key) <= 60, key
            assert key.isascii(), key


def test_the_names_of_the_columns_stand_in_a_table_with_the_keys(trained: Trained) -> None:
    import mlflow

    run = connect(trained.settings).get_run(trained.second.mlflow_run_id)
    table = pd.read_csv(StringIO(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/drift_columns.csv")))
    assert set(table["column"]) == {*NUMBERS, *CATEGORIES}
    assert {f"drift.{key}" for key in table["key"]} <= set(run.data.metrics)


def test_runs_are_compared_by_the_parameters_that_differ(trained: Trained) -> None:
    compared = compare(trained.settings, MODEL)
    assert any(key == "train.params.C" for key in compared.parameters) or len(compared.rows) == 1
    assert log_comparison(trained.settings, compared)


def test_a_report_is_drawn_with_the_names_of_the_columns(trained: Trained) -> None:
    settings = trained.settings
    champion = ProductionPointer(settings, MODEL).current()
    assert champion
    subject = load_version_rows(settings, champion)
    features = subject.schema.select(subject.train).head(60).assign(**{LONG: lambda frame: frame[LONG] + 3})
    predicted = subject.model.predict(features)
    common: dict[str, Any] = {"model": MODEL, "version": champion.version, "created_at": time.time()}
    store = open_store(settings)
    rows: list[Any] = [
        {
            **common,
            "id": f"{1000 + at:036d}",
            "features": features.iloc[at].to_dict(),
            "prediction": predicted[at],
            "score": None,
            "probabilities": None,
            "latency": 0.001,
        }
        for at in range(60)
    ]
    insert_predictions(store, rows)
    labels: dict[str, Any] = {"revision": 1, "correct": None, "source": "api"}
    truths = [{**common, **labels, "prediction_id": f"{1000 + at:036d}", "target": LABELS[at % 2]} for at in range(60)]
    with store.transaction() as connection:
        connection.execute(sa.insert(feedback), truths)
    config = ReportingConfig(pipeline="reporting", model=MODEL)
    summary = run_reporting(config, settings, RunOptions("test {date}"))
    assert isinstance(summary, ReportSummary)
    assert set(summary.report.drift) == {*NUMBERS, *CATEGORIES}
    assert LONG in summary.report.drifted
    assert f"drift.{column_key(LONG)}" in connect(settings).get_run(summary.mlflow_run_id).data.metrics
