"""A package of each task's own estimators: it loads in the service, keeps its answers, and is watched for drift."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.config import Drift, Evaluate, TrainingConfig
from ratchet.inference.runtime import Runtime, load_runtime
from ratchet.inference.shapley import explain
from ratchet.model.evaluation import evaluate_model
from ratchet.model.package.sealed_package import Package, load_package, verify_package
from ratchet.monitoring.drift.report import compare_window
from serving.predictions import describe_model
from tests.fitted import Trained, baseline, fit, packaged

Case = tuple[Trained, Package, Runtime]


def machine() -> pd.DataFrame:
    """Figures of a machine by the minute, some of them anomalies."""
    generator, rows = np.random.default_rng(0), 600
    strange = generator.random(rows) < 0.05
    heat = np.where(strange, generator.uniform(6, 20, rows), generator.normal(size=rows))
    at = pd.date_range("2026-01-01", periods=rows, freq="min").strftime("%Y-%m-%d %H:%M:%S")
    return pd.DataFrame({"at": at, "heat": heat, "load": generator.normal(size=rows), "anomaly": strange.astype(int)})


def cards() -> pd.DataFrame:
    """Payments of which few are fraud."""
    generator, rows = np.random.default_rng(1), 1500
    fraud = generator.random(rows) < 0.03
    amount = np.exp(generator.normal(np.where(fraud, 5, 3.5), 1)).round(2)
    kind = generator.choice(["shop", "web"], rows)
    return pd.DataFrame({"amount": amount, "kind": kind, "fraud": np.where(fraud, "fraud", "fine")})


def films() -> pd.DataFrame:
    """Ratings behind which there is a taste."""
    generator, rows = np.random.default_rng(2), 1500
    users, items = generator.integers(0, 40, rows), generator.integers(0, 30, rows)
    taste = generator.normal(size=40)[users] * generator.normal(size=30)[items]
    rating = np.clip(3 + taste, 1, 5).round(1)
    return pd.DataFrame({"user": [f"u{u}" for u in users], "film": [f"f{i}" for i in items], "rating": rating})


CASES: dict[str, tuple[Callable[[], pd.DataFrame], dict[str, Any]]] = {
    "anomalies": (
        machine,
        {
            "task": "anomaly_detection",
            "dataset": {
                "target": "anomaly",
                "time": "at",
                "window": {"lags": {"heat": [1]}, "horizon": 0, "known": ["heat", "load"]},
            },
            "embed": {"reducer": "none"},
            "train": {"estimator": "sklearn.ensemble.IsolationForest", "params": {"contamination": 0.05}},
            "evaluate": {"primary_metric": "average_precision"},
        },
    ),
    "costs": (
        cards,
        {
            "dataset": {
                "target": "fraud",
                "positive": "fraud",
                "costs": {"false_negative": 50, "false_positive": 2},
            },
            "train": {"estimator": "sklearn.linear_model.LogisticRegression", "threshold": "cost"},
            "evaluate": {"primary_metric": "cost"},
        },
    ),
    "ratings": (
        films,
        {
            "task": "recommendation",
            "dataset": {"target": "rating"},
            "embed": {"kind": "ratings", "user": "user", "item": "film"},
            "train": {"estimator": "ratchet.estimators.MatrixFactorization", "params": {"n_factors": 2}},
            "evaluate": {"primary_metric": "rmse"},
        },
    ),
}
NAMES = pytest.mark.parametrize("case", CASES, indirect=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    cases: dict[str, Case] = {}

    def make(name: str) -> Case:
        if name not in cases:
            rows, config = CASES[name]
            folder = tmp_path_factory.mktemp(name)
            rows().to_csv(folder / "rows.csv", index=False)
            source = {"source": "csv", "path": str(folder / "rows.csv")}
            dataset = config["dataset"] | source
            trained = fit(TrainingConfig.model_validate({"model": name, **config, "dataset": dataset}))
            package = load_package(*packaged(trained, folder / "package"))
            cases[name] = trained, package, load_runtime(package.path, package.digest, model=name, version="1")
        return cases[name]

    return make


@pytest.fixture
def case(request: pytest.FixtureRequest, made: Callable[[str], Case]) -> Case:
    return made(request.param)


def records_of(trained: Trained, runtime: Runtime, rows: int = 20) -> list[dict[str, Any]]:
    sent = trained.holdout[trained.schema.feature_names].head(rows).to_dict("records")
    return runtime.reader.read_many(json.dumps({"rows": sent}).encode())


@NAMES
def test_the_service_predicts_as_the_model_and_the_manifest_has_why_there_is_no_onnx(case: Case) -> None:
    trained, package, runtime = case
    verify_package(package)
    manifest = json.loads((package.path / "manifest.json").read_text())
    assert runtime.engine_name == "scikit-learn"
    assert manifest["onnx"]["reason"].startswith("skl2onnx cannot convert it: ")
    expected = trained.model.predict(trained.schema.select(trained.holdout.head(20))).tolist()
    assert [answer.prediction for answer in runtime.predict(records_of(trained, runtime))] == pytest.approx(expected)


@NAMES
def test_an_answer_has_the_form_of_its_task(case: Case) -> None:
    trained, _, runtime = case
    answer = runtime.predict(records_of(trained, runtime, 1))[0]
    assert describe_model(runtime)["task"] == trained.config.task
    if trained.schema.labels is None:
        assert (type(answer.prediction), answer.score, answer.probabilities) == (float, None, None)
    else:
        assert answer.prediction in trained.schema.labels
        assert answer.probabilities is not None
        assert sum(answer.probabilities.values()) == pytest.approx(1)


@NAMES
def test_an_explanation_of_it_adds_up(case: Case) -> None:
    trained, _, runtime = case
    found = explain(runtime, records_of(trained, runtime, 1)[0])
    assert found.base + sum(found.contributions.values()) == pytest.approx(found.output)


@NAMES
def test_its_holdout_is_no_drift_and_its_predictions_are_profiled(case: Case) -> None:
    trained, package, _ = case
    assert package.profile.predictions[0].counts
    report = compare_window(trained.holdout, None, package, Drift(), "1")
    assert (report.detected, report.drifted) == (False, ())


@pytest.mark.parametrize(
    ("case", "metric", "least"), [("anomalies", "average_precision", 0.9), ("anomalies", "f1", 0.6)], indirect=["case"]
)
def test_anomalies_are_found_without_labels(case: Case, metric: str, least: float) -> None:
    trained = case[0]
    config = Evaluate(primary_metric=metric, bootstrap=100)
    assert evaluate_model(trained.model, trained.holdout, trained.schema, config, 0).primary > least


@pytest.mark.parametrize("case", ["costs"], indirect=True)
def test_a_threshold_by_cost_is_what_the_service_answers_with(case: Case) -> None:
    trained, _, runtime = case
    answers = runtime.predict(records_of(trained, runtime, 300))
    chances = np.array([answer.probabilities["fraud"] for answer in answers if answer.probabilities])
    predicted = np.array([answer.prediction for answer in answers])
    threshold = trained.model.named_steps["model"].threshold
    assert threshold < 0.3
    np.testing.assert_array_equal(predicted == "fraud", chances >= threshold)


@pytest.mark.parametrize("case", ["ratings"], indirect=True)
def test_an_unknown_user_gets_a_rating(case: Case) -> None:
    trained, _, runtime = case
    new = runtime.predict([{"user": "unknown", "film": "f1"}, {"user": "unknown", "film": "none"}])
    assert new[1].prediction == pytest.approx(trained.train["rating"].mean())
    assert new[0].prediction != new[1].prediction


def test_pixels_go_through_onnx_as_through_scikit_learn(tmp_path: Path) -> None:
    trained = baseline(
        "dataset={source: sklearn, name: digits, target: digit}",
        "embed={kind: image, maximum: 16, n_components: 40}",
        "evaluate={primary_metric: accuracy}",
    )
    runtime = load_runtime(*packaged(trained, tmp_path / "package"), model="digits", version="1")
    assert runtime.engine_name == "onnx"
    predicted = [answer.prediction for answer in runtime.predict(records_of(trained, runtime, 100))]
    assert predicted == trained.model.predict(trained.schema.select(trained.holdout.head(100))).tolist()
    assert (np.array(predicted) == trained.holdout["digit"].head(100)).mean() > 0.85
