"""The continuous-training pipeline on labels from production: right, mistaken, and malicious ones."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from pipelines.continuous import ContinuousSummary, run_continuous, run_on_snapshot
from pipelines.runner import RunOptions
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data import load_dataset
from ratchet.data.snapshots import load_snapshot
from ratchet.errors import DataError
from ratchet.experiments.reproduction import reproduce
from ratchet.loop.training_runs import TrainingRuns
from ratchet.loop.version_lineage import version_lineage
from ratchet.monitoring.production_rows import labelled_rows
from ratchet.registry.fetch_package import reference_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.registry.promote_challenger import Promotion
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from simulation.stream import Example
from tests.conftest import ROOT, Cli
from tests.ratchet.loop.production import answer, label, simulation_of, take
from tests.training_runs import config_for, train_in

DRIFTED = 300  # the row at which the drift of configs/simulate.yaml begins
LABELS = 300


@pytest.fixture(scope="session")
def store(settings: Settings) -> Store:
    return open_store(settings)


def run_in(settings: Settings, config: ContinuousTrainingConfig) -> ContinuousSummary:
    return run_continuous(config, settings, RunOptions("test"))


def production(
    settings: Settings, store: Store, model: str, folder: Path, *overrides: str, first: int = DRIFTED
) -> list[Example]:
    """A champion trained on the reference alone, and labelled rows that it predicted."""
    train_in(settings, config_for(model))
    examples = take(simulation_of(model, "labels.share=1", *overrides), first, LABELS)
    label(store, model, zip(answer(settings, store, model, examples, folder), examples, strict=True))
    return examples


def accuracy(settings: Settings, store: Store, model: str, examples: list[Example], folder: Path) -> float:
    rows = answer(settings, store, model, examples, folder)
    return float(np.mean([row["prediction"] == example.truth for row, example in zip(rows, examples, strict=True)]))


def decision(summary: ContinuousSummary) -> Promotion:
    return summary.pipeline.promotion


def refusals(summary: ContinuousSummary) -> set[str]:
    return {check.name for check in decision(summary).checks if not check.passed}


@pytest.fixture(scope="session")
def recovered(
    settings: Settings, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ContinuousTrainingConfig, ContinuousSummary, list[float]]:
    """One run of continuous training after drift; the accuracy before the drift, after it, and after the run."""
    config = config_for("recovered", name="continuous_training")
    folders = [tmp_path_factory.mktemp("recovered") for _ in range(4)]
    production(settings, store, "recovered", folders[0])
    stream = simulation_of("recovered")
    fresh = take(stream, DRIFTED + LABELS, 400)
    figures = [
        accuracy(settings, store, "recovered", take(stream, 0, 300), folders[1]),
        accuracy(settings, store, "recovered", fresh, folders[2]),
    ]
    summary = run_in(settings, config)
    return config, summary, [*figures, accuracy(settings, store, "recovered", fresh, folders[3])]


Recovered = tuple[ContinuousTrainingConfig, ContinuousSummary, list[float]]


def test_the_challenger_recovers_most_of_the_accuracy_that_drift_cost(recovered: Recovered) -> None:
    _, summary, (before, fallen, after) = recovered
    assert decision(summary).outcome == "promoted"
    assert before - fallen >= 0.10
    assert (after - fallen) / (before - fallen) >= 0.80


def test_the_newest_production_rows_are_held_out_and_the_others_trained_on(
    recovered: Recovered, settings: Settings
) -> None:
    config, summary, _ = recovered
    rows = load_snapshot(settings, config, summary.run.snapshot)
    package, _ = reference_package(settings, config.model)
    assert np.array_equal(package.training_rows.ids, rows.train_identities.ids)
    assert not np.isin(rows.holdout_identities.ids, package.training_rows.ids).any()
    older, newer = LABELS - int(LABELS * config.production.holdout), int(LABELS * config.production.holdout)
    assert (len(rows.train), len(rows.holdout)) == (120 + older, 30 + newer)


def test_the_lineage_of_the_new_champion_has_snapshot_and_watermark(recovered: Recovered, settings: Settings) -> None:
    config, summary, _ = recovered
    found = version_lineage(settings, ProductionPointer(settings, config.model), str(summary.run.version))
    assert found["data"]["snapshot"] == summary.run.snapshot == found["data"]["version"]
    assert found["data"]["watermark"] == str(summary.run.watermark)
    assert found["config"]["content"]["pipeline"] == "continuous_training"


@pytest.mark.slow
def test_the_new_champion_is_reproducible_from_its_snapshot(recovered: Recovered, settings: Settings) -> None:
    config, summary, _ = recovered
    pointer = ProductionPointer(settings, config.model)
    again = reproduce(settings, pointer, str(summary.run.version), ROOT)
    assert again.identical, again.differences


def test_the_lineage_of_a_prediction_has_its_feedback_and_its_version(
    recovered: Recovered, settings: Settings, store: Store, cli: Cli
) -> None:
    config, _, _ = recovered
    row = labelled_rows(store, config.model, "1", 1)[0]
    found = json.loads(cli("lineage", row.prediction_id, "--json").stdout)
    assert found["prediction"]["id"] == row.prediction_id
    assert found["feedback"][0]["target"] == row.target
    assert (found["model"], found["version"]) == (config.model, "1")
    assert found["mlflow_run"]["id"]
    assert found["zenml_run"]["id"]
    assert found["data"]["version"]
    assert found["git"]["commit"]


@pytest.mark.slow
def test_an_earlier_snapshot_can_be_trained_on_repeatedly(recovered: Recovered, settings: Settings) -> None:
    config, summary, _ = recovered
    runs = TrainingRuns(open_store(settings), config.model).history(10)
    for _ in range(2):
        again = run_on_snapshot(config, settings, str(summary.run.snapshot), RunOptions("test"))
        assert again.evaluation.metrics == summary.pipeline.evaluation.metrics  # type: ignore[union-attr]
    assert TrainingRuns(open_store(settings), config.model).history(10) == runs


KILLED_AT = (
    "after_intent",
    "after_stage",
    "after_completion",
    *(pytest.param(place, marks=pytest.mark.exhaustive) for place in ("after_snapshot", "after_pipeline")),
)


@pytest.mark.slow
@pytest.mark.parametrize("place", KILLED_AT)
def test_a_killed_run_resumes_and_ends_as_an_undisturbed_one(
    place: str, settings: Settings, store: Store, tmp_path: Path, cli: Cli
) -> None:
    from steps.model_control_plane import ZenMLStage

    model = f"killed_{place}"
    production(settings, store, model, tmp_path)
    words = ("--config", "continuous_training.yaml", "--set", f"model={model}")
    killed = cli(*words, RATCHET_FAILPOINT=place)
    assert killed.returncode == -signal.SIGKILL
    ended = run_in(settings, config_for(model, name="continuous_training"))
    assert ended.run.state == "promoted"
    assert ended.run.attempts == 2
    pointer = ProductionPointer(settings, model)
    current = pointer.current()
    assert current.version == ended.run.version
    done = [entry.to_version for entry in pointer.ledger.history() if entry.state == "completed"]
    assert done == [ended.run.version, "1"], "promoted once"
    record = json.loads((settings.models_dir / model / "metrics.json").read_text())
    assert (record["version"], record["outcome"]) == (ended.run.version, "promoted")
    assert record["package_digest"] == current.digest
    assert ZenMLStage(settings).read(model) == ended.run.version


@pytest.mark.slow
def test_a_failed_run_can_be_started_again(settings: Settings, store: Store, tmp_path: Path) -> None:
    rows = load_dataset(config_for("iris").dataset, "classification").frame
    path = tmp_path / "iris.csv"
    config = config_for("failed", f"dataset={{source: csv, path: {path}, target: species}}", name="continuous_training")
    with pytest.raises(DataError):
        run_in(settings, config)
    runs = TrainingRuns(store, "failed")
    assert [run.state for run in runs.history(9)] == ["failed"]
    rows.to_csv(path, index=False)
    assert run_in(settings, config).run.state == "promoted"
    assert [run.state for run in runs.history(9)] == ["promoted"]


def test_without_new_labels_no_run_is_made(recovered: Recovered, settings: Settings) -> None:
    config, summary, _ = recovered
    again = run_in(settings, config)
    assert again.pipeline is None
    assert again.run == summary.run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("poison", "check"),
    [
        pytest.param("labels.noise=0.4", "against_champion", id="at_random"),
        pytest.param("labels.flip={versicolor: virginica}", "reference_holdout", id="on_purpose"),
    ],
)
def test_a_challenger_trained_on_wrong_labels_is_refused_by_the_named_check(
    poison: str, check: str, settings: Settings, store: Store, tmp_path: Path
) -> None:
    model = f"poisoned_{check}"
    production(settings, store, model, tmp_path, poison, first=0)
    summary = run_in(settings, config_for(model, name="continuous_training"))
    assert (summary.run.state, decision(summary).champion) == ("refused", "1")
    assert check in refusals(summary)
    assert check in str(summary.run.outcome)


@pytest.mark.slow
def test_a_warm_start_continues_from_the_champion_and_keeps_its_embedder(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    model = "warm"
    overrides = [
        "embed.n_components=4",
        "train={estimator: sklearn.linear_model.LogisticRegression, params: {max_iter: 1000}, mode: warm_start}",
    ]
    train_in(settings, config_for(model, *overrides, "train.mode=scratch"))
    before, _ = reference_package(settings, model)
    examples = take(simulation_of(model, "labels.share=1"), DRIFTED, LABELS)
    label(store, model, zip(answer(settings, store, model, examples, tmp_path), examples, strict=True))
    config = config_for(
        model, *overrides, "promote.policy=always", "promote.reference_margin=null", name="continuous_training"
    )
    summary = run_in(settings, config)
    assert summary.run.state == "promoted"
    after, version = reference_package(settings, model)
    assert version == "2"
    rows = before.schema.select(before.sample)
    assert np.array_equal(before.model["embed"].transform(rows), after.model["embed"].transform(rows))
    assert set(before.training_rows.ids) < set(after.training_rows.ids)
    found = version_lineage(settings, ProductionPointer(settings, model), "2")
    assert found["data"]["warm_start"] == "1"
