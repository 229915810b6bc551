"""Columns of text and time in training, packages, requests, drift, snapshots and simulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Column, Drift, TrainingConfig
from ratchet.config.simulation import SimulationConfig
from ratchet.data import Schema, load_dataset
from ratchet.data.columns import as_time_text
from ratchet.data.schema import Field, check_frame
from ratchet.data.snapshots import rules_for
from ratchet.errors import ConfigError, InputError
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.inference.shapley import explain
from ratchet.loop.snapshots import as_frame, with_types
from ratchet.model.embedding import embed
from ratchet.model.package.sealed_package import Package, load_package, verify_package
from ratchet.model.record_schema import LONGEST_TEXT, RecordReader, canonical_time
from ratchet.monitoring.drift.report import DriftReport, compare_window
from ratchet.monitoring.production_rows import LabelledRow
from simulation.stream import Stream
from tests.fitted import Trained, fit, packaged

GOOD, BAD = ["warm", "bright", "charming", "moving", "lovely"], ["dull", "slow", "empty", "clumsy", "tired"]
TIMES = pd.date_range("2026-01-01", periods=400, freq="h")


def phrases(rows: int, seed: int = 0, noise: float = 0.0) -> pd.DataFrame:
    """Short reviews whose words depend on the label, except a share with random labels."""
    generator = np.random.default_rng(seed)
    label = generator.choice(["bad", "good"], rows)
    shown = np.where(generator.random(rows) < noise, generator.choice(["bad", "good"], rows), label)
    words = [generator.choice(GOOD if word == "good" else BAD, generator.integers(2, 7)) for word in shown]
    return pd.DataFrame({"review": [f'a "{" ".join(w)}" film' for w in words], "verdict": label})


def rides(hours: int = 400) -> pd.DataFrame:
    """A count that follows the hour of the day."""
    times, generator = TIMES[:hours], np.random.default_rng(1)
    count = 100 + 60 * np.sin(2 * np.pi * times.hour / 24) + generator.normal(0, 3, hours)
    return pd.DataFrame({"hour": times.strftime("%Y-%m-%d %H:%M:%S"), "count": count.round(1)})


def trained_on(frame: pd.DataFrame, path: Path, config: dict[str, Any]) -> Trained:
    frame.to_csv(path, index=False)
    config["dataset"] |= {"source": "csv", "path": str(path)}
    return fit(TrainingConfig.model_validate({"model": "m", **config}))


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Package]:
    trained = trained_on(
        phrases(300, noise=0.2),
        tmp_path_factory.mktemp("reviews") / "reviews.csv",
        {
            "dataset": {"target": "verdict", "columns": {"review": {"type": "text"}}},
            "embed": {"kind": "text", "n_components": 5},
            "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
            "evaluate": {"primary_metric": "accuracy"},
        },
    )
    return trained, load_package(*packaged(trained, tmp_path_factory.mktemp("package") / "reviews"))


@pytest.fixture(scope="module")
def forecast(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Package]:
    trained = trained_on(
        rides(),
        tmp_path_factory.mktemp("rides") / "rides.csv",
        {
            "task": "forecasting",
            "dataset": {"target": "count", "time": "hour", "window": {"lags": {"count": [1, 24]}}},
            "embed": {"kind": "series"},
            "train": {"estimator": "sklearn.linear_model.Ridge"},
            "evaluate": {"primary_metric": "rmse"},
        },
    )
    return trained, load_package(*packaged(trained, tmp_path_factory.mktemp("package") / "rides"))


def runtime_of(package: Package) -> Runtime:
    return load_runtime(package.path, package.digest, model="m", version="1")


def read_by(runtime: Runtime, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON that a client sends, read as the service reads it."""
    sent = json.dumps({"rows": rows[runtime.schema.feature_names].to_dict("records")}).encode()
    return runtime.reader.read_many(sent)


def drift_of(rows: pd.DataFrame, package: Package) -> DriftReport:
    return compare_window(rows, None, package, Drift(), "1")


@pytest.mark.parametrize("name", ["reviews", "forecast"])
def test_a_package_predicts_as_the_model_in_training(name: str, request: pytest.FixtureRequest) -> None:
    trained, package = request.getfixturevalue(name)
    verify_package(package)
    runtime = runtime_of(package)
    answers = runtime.predict(read_by(runtime, trained.holdout))
    expected = trained.model.predict(trained.schema.select(trained.holdout)).tolist()
    assert [answer.prediction for answer in answers] == pytest.approx(expected)
    assert runtime.engine_name == "scikit-learn"


def test_a_model_predicts_from_new_texts(reviews: tuple[Trained, Package]) -> None:
    runtime = runtime_of(reviews[1])
    good, bad = runtime.predict([{"review": 'so charming, "lovely" and WARM'}, {"review": "slow\nand dull"}])
    assert (good.prediction, bad.prediction) == ("good", "bad")


def test_a_model_learns_the_cycle_of_a_time(forecast: tuple[Trained, Package]) -> None:
    trained, _ = forecast
    error = trained.model.predict(trained.schema.select(trained.holdout)) - trained.holdout["count"]
    assert np.sqrt((error**2).mean()) < 5, "noise alone is 3, the seasons are 42"


def test_a_text_has_no_onnx_export_and_the_manifest_has_the_reason(reviews: tuple[Trained, Package]) -> None:
    manifest = json.loads((reviews[1].path / "manifest.json").read_text())
    assert manifest["onnx"]["reason"] == "ONNX does not read the text of 'review' as scikit-learn does"


def test_a_table_with_an_unused_time_is_exported(tmp_path: Path) -> None:
    trained = trained_on(
        rides().assign(plan=lambda rows: np.where(rows["count"] > 100, "plus", "basic")),
        tmp_path / "rides.csv",
        {
            "task": "regression",
            "dataset": {"target": "count", "time": "hour"},
            "embed": {"reducer": "none"},
            "train": {"estimator": "sklearn.linear_model.Ridge"},
            "evaluate": {"primary_metric": "rmse"},
        },
    )
    runtime = runtime_of(load_package(*packaged(trained, tmp_path / "package")))
    assert runtime.engine_name == "onnx"
    answers = runtime.predict(read_by(runtime, trained.holdout.head(3)))
    expected = trained.model.predict(trained.schema.select(trained.holdout.head(3))).tolist()
    assert [answer.prediction for answer in answers] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["reviews", "forecast"])
def test_an_explanation_adds_up(name: str, request: pytest.FixtureRequest) -> None:
    trained, package = request.getfixturevalue(name)
    runtime = runtime_of(package)
    found = explain(runtime, read_by(runtime, trained.holdout.head(1))[0])
    assert set(found.contributions) == set(trained.schema.feature_names)
    assert found.base + sum(found.contributions.values()) == pytest.approx(found.output)


def test_rows_like_the_training_rows_are_not_drift(reviews: tuple[Trained, Package]) -> None:
    report = drift_of(phrases(200, seed=5, noise=0.2), reviews[1])
    assert (report.detected, report.drifted) == (False, ())
    assert set(report.figures) == {"review"}, "its number of words"


def test_longer_texts_are_drift_of_the_number_of_words(reviews: tuple[Trained, Package]) -> None:
    rows = phrases(200, seed=5)
    report = drift_of(rows.assign(review=rows["review"] + " which is what anybody would say of it"), reviews[1])
    assert report.drifted == ("review",)


def test_the_domain_classifier_detects_other_words_in_texts_of_the_same_length(
    reviews: tuple[Trained, Package],
) -> None:
    rows = phrases(200, seed=5)
    report = drift_of(rows.assign(review=rows["review"].str.replace(" ", "ly ")), reviews[1])
    assert report.drifted == ()
    assert (report.domain_drifted, report.detected) == (True, True)


def test_a_later_time_alone_is_not_drift(forecast: tuple[Trained, Package]) -> None:
    trained, package = forecast
    later = trained.train.assign(hour=as_time_text(pd.to_datetime(trained.train["hour"]) + pd.Timedelta(days=700)))
    report = drift_of(later, package)
    assert (report.detected, report.domain_drifted) == (False, False)
    assert set(report.figures) == {"count_lag_1", "count_lag_24"}


def test_a_window_without_texts_is_a_note_and_not_an_error(reviews: tuple[Trained, Package]) -> None:
    report = drift_of(pd.DataFrame({"review": [""] * 30}), reviews[1])
    assert "review: every value is missing" in report.notes


def labelled(rows: list[dict[str, Any]], targets: list[Any]) -> list[LabelledRow]:
    blank: Any = dict.fromkeys(LabelledRow.__annotations__)
    return [
        LabelledRow(**{**blank, "features": row, "target": target}) for row, target in zip(rows, targets, strict=True)
    ]


@pytest.mark.parametrize("name", ["reviews", "forecast"])
def test_production_rows_become_training_rows(name: str, request: pytest.FixtureRequest) -> None:
    trained, package = request.getfixturevalue(name)
    rows = trained.holdout.head(20)
    records = read_by(runtime_of(package), rows)
    frame = as_frame(labelled(records, rows[trained.schema.target].tolist()), trained.schema)
    typed, schema = check_frame(frame, rules_for(trained.config.dataset, frame), trained.config.task)
    assert [(f.name, f.type) for f in schema.features] == [(f.name, f.type) for f in trained.schema.features]
    pd.testing.assert_frame_equal(typed, rows.reset_index(drop=True))
    assert embed(trained.model["embed"], typed, schema).notna().all(axis=None)


@pytest.mark.parametrize(
    "written",
    ["2026-01-31T18:00:00", "2026-01-31 18:00", "2026-01-31", "2026-01-31T18:00:00Z", "2026-01-31T20:00:00+05:30",
     "2026-01-31T18:00:00.25"],
)  # fmt: skip
def test_a_time_in_a_request_is_read_as_in_training(written: str) -> None:
    assert canonical_time(written) == as_time_text(pd.Series([written]))[0]


TYPED = Schema(
    features=(
        Field(name="words", type="text", nullable=False),
        Field(name="at", type="time", nullable=True, rule=Column(type="time")),
    ),
    target="y",
)


def test_the_json_schema_describes_texts_and_times() -> None:
    reader = RecordReader(TYPED)
    properties = reader.json_schema()["properties"]
    assert properties["words"]["maxLength"] == LONGEST_TEXT
    assert properties["at"]["anyOf"][0]["format"] == "date-time"
    assert reader.read(json.dumps(reader.example()).encode()) == reader.example(), "the example works when pasted"


@pytest.mark.parametrize(
    ("record", "field", "message"),
    [
        ({"words": "a", "at": "yesterday"}, "at", "a time in ISO 8601, such as 2026-01-31T18:00:00"),
        ({"words": "a", "at": "2026-02-30"}, "at", "a time in ISO 8601"),
        ({"words": "a", "at": "0001-01-01T00:00:00+10:00"}, "at", "a time in ISO 8601"),
        ({"words": "a", "at": 1790000000}, "at", "valid string"),
        ({"words": "a" * (LONGEST_TEXT + 1)}, "words", "at most 20000 characters"),
        ({"words": "a\u0000b"}, "words", "pattern"),
        ({"words": None}, "words", "valid string"),
    ],
)
def test_an_invalid_text_or_time_is_refused_with_its_field(record: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        RecordReader(TYPED).read(json.dumps(record, ensure_ascii=False).encode())
    assert refused.value.problems[0].field == field


def test_quotes_and_escapes_in_a_text_are_not_repeated_fields() -> None:
    record = {"words": 'he said "no"\\ and "words": "left"', "at": None}
    assert RecordReader(TYPED).read(json.dumps(record).encode()) == record
    with pytest.raises(InputError, match="more than once"):
        RecordReader(TYPED).read(b'{"words": "a", "words": "b"}')


def simulated(trained: Trained, *drift: dict[str, Any]) -> list[dict[str, Any]]:
    config = SimulationConfig.model_validate(
        {
            "pipeline": "simulation",
            "model": "m",
            "task": trained.config.task,
            "dataset": trained.config.dataset.model_dump(mode="json"),
            "stream": {"rows": 30, "jitter": 0.1},
            "drift": list(drift),
        }
    )
    data = load_dataset(config.dataset, config.task)
    return [example.record for example in Stream(config, data)]


@pytest.mark.parametrize("name", ["reviews", "forecast"])
def test_a_simulation_sends_valid_records(name: str, request: pytest.FixtureRequest) -> None:
    trained, package = request.getfixturevalue(name)
    records = simulated(trained)
    sent = json.dumps({"rows": records}).encode()
    assert runtime_of(package).reader.read_many(sent) == records


def test_a_time_has_no_new_category_and_no_shift(forecast: tuple[Trained, Package]) -> None:
    with pytest.raises(ConfigError, match="'hour' holds times, which have no categories"):
        simulated(forecast[0], {"kind": "new_category", "at": 1, "column": "hour", "category": "x"})
    with pytest.raises(ConfigError, match="'hour' holds times, and only numbers can move"):
        simulated(forecast[0], {"kind": "mean_shift", "at": 1, "columns": {"hour": 1.0}})


def test_true_and_false_are_booleans_in_the_schema_of_a_snapshot_too(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("paid,y\n" + "".join(f"{bool(n % 3)},{'ab'[n % 2]}\n" for n in range(30)) + ",a\n")
    config = TrainingConfig.model_validate(
        {
            "model": "m",
            "dataset": {"source": "csv", "path": str(path), "target": "y"},
            "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
            "evaluate": {"primary_metric": "accuracy"},
        }
    )
    data = load_dataset(config.dataset, config.task)
    assert data.schema.features[0].boolean
    assert RecordReader(data.schema).read(b'{"paid": true}') == {"paid": 1.0}
    stored = with_types(data.frame, data.schema)
    stored.to_parquet(tmp_path / "snapshot.parquet")
    again = pd.read_parquet(tmp_path / "snapshot.parquet")
    typed, schema = check_frame(again, rules_for(config.dataset, again), config.task)
    pd.testing.assert_frame_equal(typed, data.frame)
    assert schema == data.schema
