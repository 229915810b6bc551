"""The training pipeline on real ZenML and MLflow stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from pipelines.runner import STEPS, RunOptions, RunSummary, plan_training, run_training
from ratchet.config import config_hash
from ratchet.errors import ConfigError, DataError, RegistryError, TrainingError
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.gates import CHECKS
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import connect
from ratchet.tracking.lineage import whole_lineage
from tests.conftest import ROOT
from tests.training_runs import config_for, train_in


@pytest.fixture
def client(settings: Settings) -> MlflowClient:
    return connect(settings)


def test_the_first_version_goes_into_production(first: RunSummary, client: MlflowClient, settings: Settings) -> None:
    current = ProductionPointer(settings, "iris").current()
    assert current is not None
    assert (first.promotion.outcome, first.promotion.version) == ("promoted", current.version)
    assert str(client.get_model_version_by_alias("iris", "champion").version) == current.version
    assert first.drift.summary == "no reference yet"
    assert [step.name for step in first.steps] == list(STEPS)


def test_the_version_in_production_can_be_loaded_by_stage(first: RunSummary, settings: Settings) -> None:
    mlflow.set_tracking_uri(settings.tracking_uri)
    model = mlflow.sklearn.load_model("models:/iris/Production")
    row = {"sepal_length": [5.1], "sepal_width": [3.5], "petal_length": [1.4], "petal_width": [0.2]}
    assert model.predict(pd.DataFrame(row)).tolist() == ["setosa"]


def test_one_mlflow_run_holds_everything(first: RunSummary, client: MlflowClient) -> None:
    run = client.get_run(first.mlflow_run_id)
    assert run.info.run_name == first.run_name
    assert run.info.status == "FINISHED"
    assert len(client.search_runs([run.info.experiment_id], f"tags.mlflow.runName = '{first.run_name}'")) == 1
    assert run.data.params["train.params.C"] == "1.0"
    assert run.data.metrics["f1_macro"] == first.evaluation.primary
    assert {"f1_macro_low", "f1_macro_high", "gate.floor.figure", "gate.golden.passed", "gate.latency.figure"} <= set(
        run.data.metrics
    )
    assert run.inputs.dataset_inputs[0].dataset.digest == run.data.tags["ratchet.data_version"]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "figures", "holdout_profile.json", "gate.json", "lineage.json", "iris"} <= files
    figures = {file.path for file in client.list_artifacts(run.info.run_id, "figures")}
    assert figures == {"figures/confusion_matrix.png", "figures/features.png"}


def ours(tags: dict[str, str]) -> set[str]:
    return {key.removeprefix("ratchet.") for key in tags if key.startswith("ratchet.")}


def test_a_run_and_a_version_have_five_tags_and_the_whole_lineage_in_a_file(
    first: RunSummary, client: MlflowClient, settings: Settings
) -> None:
    run = client.get_run(first.mlflow_run_id)
    version = client.get_model_version("iris", first.promotion.version)
    filtered = {"pipeline", "data_version", "git_commit", "outcome"}
    assert ours(run.data.tags) == filtered | {"model_version"}
    assert ours(version.tags) == filtered | {"package_digest"}
    assert version.run_id == first.mlflow_run_id
    assert version.tags["ratchet.outcome"] == run.data.tags["ratchet.outcome"] == "promoted"
    lineage = whole_lineage(settings, first.mlflow_run_id, {})
    assert (lineage["zenml_run_id"], lineage["zenml_run_name"]) == (first.zenml_run_id, first.run_name)
    assert len(lineage["git_commit"]) == 40
    assert lineage["git_dirty"] in ("true", "false")
    assert lineage["data_version"] == "013d0da08d6506664ce640459139176b"
    assert {"config_hash", "seed", "version.scikit-learn"} <= set(lineage)
    for tags in (run.data.tags, version.tags):
        assert {key: tags[f"ratchet.{key}"] for key in ("pipeline", "data_version", "git_commit")}.items() <= (
            lineage.items()
        )


def test_the_run_and_the_version_are_described(first: RunSummary, client: MlflowClient) -> None:
    text = client.get_model_version("iris", first.promotion.version).description
    assert text.startswith(f"Promoted with f1_macro {first.evaluation.primary:.4f} (95% interval ")
    assert first.promotion.reason in text
    assert "`013d0da08d6506664ce640459139176b`" in text
    assert client.get_run(first.mlflow_run_id).data.tags["mlflow.note.content"] == text


def test_zenml_has_the_version_its_stage_and_its_artifacts(first: RunSummary) -> None:
    from zenml.client import Client

    version = Client().get_model_version("iris", f"v{first.promotion.version}")
    assert version.stage == "production"
    assert version.run_metadata["mlflow_run_id"] == first.mlflow_run_id
    assert {"train_rows", "holdout_rows", "embedder", "model", "evaluation"} <= set(version.data_artifact_ids) | set(
        version.model_artifact_ids
    )
    (rows,) = Client().get_pipeline_run(first.zenml_run_id).steps["ingest"].outputs["train_rows"]
    assert rows.run_metadata["data_version"] == "013d0da08d6506664ce640459139176b"


def test_a_version_carries_its_reference_and_reproduces_its_predictions(
    first: RunSummary, client: MlflowClient, settings: Settings, tmp_path: Path
) -> None:
    from ratchet.model.package.sealed_package import verify_package

    package = fetch_package(settings, ProductionPointer(settings, "iris").get(first.promotion.version))
    verify_package(package)
    assert package.profile.n_rows == len(package.training_rows) == 120
    assert package.onnx is not None


def test_the_exports_are_written(first: RunSummary) -> None:
    record = json.loads((first.exports / "metrics.json").read_text())
    assert record["metrics"] == first.evaluation.metrics
    assert {"seed", "timestamp", "versions", "data_version", "git_commit"} <= set(record)
    assert (first.exports / "model.joblib").is_file()


def golden(settings: Settings, summary: RunSummary, folder: Path) -> Any:
    version = ProductionPointer(settings, summary.config.model).get(summary.promotion.version)
    return fetch_package(settings, version).golden


@pytest.mark.parametrize(
    "name",
    [
        "baseline",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("variation_svm", "variation_random_forest")),
    ],
)
def test_two_runs_of_one_config_are_the_same_to_the_last_bit(
    name: str, settings: Settings, client: MlflowClient, model: str, tmp_path: Path
) -> None:
    one, two = (train_in(settings, config_for(model, name=name), cache=False) for _ in range(2))
    assert one.promotion.version != two.promotion.version
    assert one.evaluation == two.evaluation
    assert golden(settings, one, tmp_path / "1") == golden(settings, two, tmp_path / "2")


@pytest.mark.slow
def test_autologging_adds_to_the_run_and_changes_no_model(
    first: RunSummary, settings: Settings, client: MlflowClient, model: str, tmp_path: Path
) -> None:
    logged = train_in(settings, config_for(model, "tracking.autolog=true"))
    run = client.get_run(logged.mlflow_run_id)
    assert run.data.params["C"] == run.data.params["train.params.C"] == "1.0"
    assert "training_accuracy_score" in run.data.metrics
    assert "training_confusion_matrix.png" in {file.path for file in client.list_artifacts(run.info.run_id)}
    assert golden(settings, logged, tmp_path / "1") == golden(settings, first, tmp_path / "2")
    assert config_hash(logged.config) == config_hash(config_for(model)), "the config shapes the same model"


@pytest.mark.slow
def test_another_seed_is_another_model(settings: Settings, client: MlflowClient, model: str, tmp_path: Path) -> None:
    one, two = (train_in(settings, config_for(model, f"seed={seed}")) for seed in (1, 2))
    assert golden(settings, one, tmp_path / "1") != golden(settings, two, tmp_path / "2")
    assert "held-out rows are new to both models" in two.promotion.reason


@pytest.mark.slow
def test_a_run_in_which_nothing_changed_takes_its_steps_from_the_cache(
    settings: Settings, client: MlflowClient, model: str
) -> None:
    one, two = (train_in(settings, config_for(model)) for _ in range(2))
    assert [step.status for step in two.steps] == ["cached"] * 3 + ["completed"] * 3
    assert (two.promotion.outcome, two.promotion.version) == ("unchanged", one.promotion.version)
    run = client.get_run(two.mlflow_run_id)
    assert run.data.tags["ratchet.trained_by_run"] == one.mlflow_run_id
    assert run.data.metrics["f1_macro"] == one.evaluation.primary
    assert len(client.search_model_versions(f"name = '{model}'")) == 1


@pytest.mark.slow
def test_steps_with_other_parameters_are_not_taken_from_the_cache(settings: Settings, model: str) -> None:
    train_in(settings, config_for(model))
    again = train_in(settings, config_for(model, "train.params.C=0.01"))
    assert [step.status for step in again.steps][:3] == ["cached", "cached", "completed"]
    gate = train_in(settings, config_for(model, "evaluate.minimum=0.5"))
    assert [step.status for step in gate.steps][:3] == ["cached"] * 3, "the floor does not shape the model"


@pytest.mark.slow
def test_a_file_that_changed_is_read_again(settings: Settings, model: str, tmp_path: Path) -> None:
    from sklearn.datasets import load_iris

    path = tmp_path / "iris.csv"
    frame = load_iris(as_frame=True).frame
    frame.to_csv(path, index=False)
    config = config_for(model, f"dataset={{source: csv, path: {path}, target: target}}")
    train_in(settings, config)
    frame.iloc[:-1].to_csv(path, index=False)
    assert train_in(settings, config).steps[0].status == "completed"


@pytest.mark.slow
def test_warnings_about_the_data_are_in_the_summary_and_in_mlflow(
    settings: Settings, client: MlflowClient, model: str
) -> None:
    data = f"dataset={{source: csv, path: {ROOT}/tests/cases/numbered.csv, target: animal}}"
    for _ in range(2):  # the second run takes the rows from the cache
        summary = train_in(settings, config_for(model, data))
        (line,) = summary.warnings
        assert line.endswith('dataset.drop: [""]')
        run = client.get_run(summary.mlflow_run_id)
        assert run.data.metrics["data.warnings"] == 1
        logged = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/data_warnings.json"))
        assert [one["column"] for one in logged["found"]] == [""]
    assert summary.steps[0].status == "cached"


DIGITS = (
    "dataset={source: sklearn, name: digits, target: digit}",
    "evaluate={primary_metric: accuracy, minimum: 0.2}",
)


@pytest.mark.slow
def test_a_better_challenger_replaces_the_champion_and_a_worse_one_does_not(
    settings: Settings, client: MlflowClient, model: str
) -> None:
    weak = train_in(settings, config_for(model, *DIGITS, "embed.n_components=3"))
    strong = train_in(settings, config_for(model, *DIGITS, "embed.n_components=20"))
    assert strong.promotion.outcome == "promoted"
    assert "rows new to both), needed above 0" in strong.promotion.reason
    again = train_in(settings, config_for(model, *DIGITS, "embed.n_components=3"))
    assert (again.promotion.outcome, again.promotion.version) == ("refused", weak.promotion.version)
    assert again.promotion.reason.startswith("against_champion: accuracy")
    assert again.drift.reference == strong.promotion.version
    pointer = ProductionPointer(settings, model)
    current = pointer.current()
    assert current is not None
    assert current.version == strong.promotion.version
    entries = pointer.ledger.history()
    assert [(e.state, e.to_version) for e in entries] == [("refused", "1"), ("completed", "2"), ("completed", "1")]
    assert all(len(entry.gate or []) == len(CHECKS) for entry in entries)
    from zenml.client import Client

    assert Client().get_model_version(model, "production").name == f"v{current.version}"


def test_a_promotion_that_loses_to_a_concurrent_one_is_recorded(
    settings: Settings, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise RegistryError("another process promoted version 7")

    monkeypatch.setattr(ProductionPointer, "promote", lost)
    with pytest.raises(RegistryError, match="another process promoted version 7"):
        train_in(settings, config_for(model))
    (entry,) = ProductionPointer(settings, model).ledger.history()
    assert (entry.state, entry.reason) == ("refused", "the gate passed, but another process promoted version 7")
    assert len(entry.gate or []) == len(CHECKS)


@pytest.mark.slow
def test_a_difference_that_is_not_significant_on_thirty_rows_is_not_promoted(settings: Settings, model: str) -> None:
    train_in(settings, config_for(model))
    svm = train_in(settings, config_for(model, name="variation_svm"))
    assert svm.promotion.outcome == "refused"
    margin = ("promote.policy=not_worse", "promote.margin=0.05")
    accepted = train_in(settings, config_for(model, *margin, name="variation_svm"))
    assert (accepted.promotion.outcome, accepted.promotion.version) == ("promoted", svm.promotion.version)


def test_a_model_below_the_floor_is_not_promoted(settings: Settings, model: str) -> None:
    summary = train_in(settings, config_for(model, "evaluate.minimum=0.99"))
    assert (summary.promotion.outcome, summary.promotion.stage) == ("refused", "None")
    assert summary.promotion.reason == "floor: f1_macro 0.9333, needed at least 0.99"
    assert ProductionPointer(settings, model).current() is None


@pytest.mark.slow
def test_a_challenger_that_lacks_a_feature_of_the_champion_is_refused(settings: Settings, model: str) -> None:
    train_in(settings, config_for(model))
    dropped = config_for(model, "dataset.drop=[sepal_length]")
    summary = train_in(settings, dropped)
    assert summary.promotion.outcome == "refused"
    assert "against_champion: the champion takes other columns" in summary.promotion.reason


@pytest.mark.slow
def test_a_regression_runs_the_same_way(settings: Settings, model: str) -> None:
    config = config_for(
        model,
        "task=regression",
        "dataset={source: sklearn, name: diabetes, target: progression}",
        "embed.n_components=10",
        "train={estimator: sklearn.linear_model.Ridge}",
        "evaluate={primary_metric: rmse, maximum: 70}",
    )
    summary = train_in(settings, config)
    assert summary.promotion.outcome == "promoted"
    assert summary.evaluation.metrics["rmse"] < 70


def nothing_was_left(client: MlflowClient, settings: Settings, model: str) -> bool:
    """No version, no export, and no MLflow run that claims to have finished."""
    experiment = client.get_experiment_by_name(model)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    finished = [run for run in runs if run.info.status == "FINISHED"]
    versions = client.search_model_versions(f"name = '{model}'")
    return not finished and not versions and not (settings.models_dir / model).exists()


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["embed.n_components=5"], ConfigError, "embed.n_components: got 5, but 4 encoded features"),
        (["train.params.C=-1"], TrainingError, "LogisticRegression could not be fitted: The 'C' parameter"),
        (
            ["train={estimator: sklearn.svm.LinearSVC}", "evaluate={primary_metric: roc_auc}"],
            ConfigError,
            "roc_auc needs predict_proba",
        ),
    ],
)
def test_an_error_in_a_step_ends_the_run_and_leaves_nothing(
    settings: Settings, client: MlflowClient, model: str, overrides: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train_in(settings, config_for(model, *overrides))
    assert nothing_was_left(client, settings, model)


def test_broken_data_end_the_run_and_leave_nothing(
    settings: Settings, client: MlflowClient, model: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("a,b,kind\n1,2,x\n3,y\n")
    with pytest.raises(DataError, match=r"broken.csv, line 3: expected 3 fields, got 2"):
        train_in(settings, config_for(model, f"dataset={{source: csv, path: {path}, target: kind}}"))
    assert nothing_was_left(client, settings, model)


def test_an_error_of_the_config_is_raised_before_anything_is_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    settings = Settings(home=home, models_dir=tmp_path / "models")
    with pytest.raises(ConfigError, match="no hyper-parameter 'c'"):
        run_training(config_for("m", "train.params.c=1"), settings, RunOptions("t"))
    assert [path.name for path in home.iterdir()] == []


def test_a_plan_has_steps_estimator_and_data_version() -> None:
    plan = plan_training(config_for("m"))
    assert plan.steps == STEPS
    assert plan.estimator.startswith("LogisticRegression(")
    assert plan.data_version == "013d0da08d6506664ce640459139176b"


def test_the_holdout_is_never_trained_on(first: RunSummary) -> None:
    from zenml.client import Client

    steps = Client().get_pipeline_run(first.zenml_run_id).steps
    train, holdout = (steps["ingest"].outputs[name][0].load() for name in ("train_rows", "holdout_rows"))
    assert (len(train), len(holdout)) == (120, 30)
    fitted, held = (steps["ingest"].outputs[name][0].load() for name in ("train_identities", "holdout_identities"))
    assert len(np.union1d(fitted.ids, held.ids)) == 150, "each row is on one side"
