"""The continuous-training pipeline on what production said: the truth, mistakes, and lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.continuous import ContinuousSummary, run_continuous
from ratchet.champion import reference_package
from ratchet.config_loop import ContinuousTrainingConfig
from ratchet.datasets import row_hashes
from ratchet.promotion import Promotion
from ratchet.registry import ProductionPointer
from ratchet.reproduction import reproduce
from ratchet.settings import Settings
from ratchet.simulation import Example
from ratchet.snapshots import load_snapshot
from ratchet.status import lineage
from ratchet.store import Store, open_store
from tests.conftest import ROOT
from tests.loop.production import answer, label, simulation_of, take
from tests.training_runs import config_for, train_in

DRIFTED = 300  # the row at which the drift of configs/simulate.yaml begins
LABELS = 300


@pytest.fixture(scope="session")
def store(settings: Settings) -> Store:
    return open_store(settings)


def run_in(settings: Settings, config: ContinuousTrainingConfig) -> ContinuousSummary:
    return run_continuous(config, settings, label="test", cache=True, verbose=False, listener=lambda name, event: None)


def production(
    settings: Settings, store: Store, model: str, folder: Path, *overrides: str, first: int = DRIFTED
) -> list[Example]:
    """A champion trained on the reference alone, and labelled rows that it answered."""
    train_in(settings, config_for(model))
    examples = take(simulation_of(model, "labels.share=1", *overrides), first, LABELS)
    label(store, model, zip(answer(settings, store, model, examples, folder), examples, strict=True))
    return examples


def accuracy(settings: Settings, store: Store, model: str, examples: list[Example], folder: Path) -> float:
    rows = answer(settings, store, model, examples, folder)
    return float(np.mean([row["prediction"] == example.truth for row, example in zip(rows, examples, strict=True)]))


def decision(summary: ContinuousSummary) -> Promotion:
    assert summary.pipeline is not None
    promotion: Promotion = summary.pipeline.promotion
    return promotion


def refusals(summary: ContinuousSummary) -> set[str]:
    return {check.name for check in decision(summary).checks if not check.passed}


@pytest.fixture(scope="session")
def recovered(
    settings: Settings, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ContinuousTrainingConfig, ContinuousSummary, list[float]]:
    """A champion that a drift has made worse, and one run of continuous training; accuracy before, fallen, after."""
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


def test_a_drift_costs_ten_points_and_the_challenger_wins_back_eighty_percent_of_them(recovered: Recovered) -> None:
    _, summary, (before, fallen, after) = recovered
    assert decision(summary).outcome == "promoted"
    assert before - fallen >= 0.10
    assert (after - fallen) / (before - fallen) >= 0.80


def test_the_training_rows_are_the_reference_and_the_older_production_and_the_newest_are_held_out(
    recovered: Recovered, settings: Settings
) -> None:
    config, summary, _ = recovered
    assert summary.run.snapshot is not None
    train, holdout, _ = load_snapshot(settings, config, summary.run.snapshot)
    package, _ = reference_package(settings, config.model)
    assert package is not None
    assert set(row_hashes(train)) == set(package.training_rows)
    assert not set(row_hashes(holdout)) & set(package.training_rows)
    assert len(train) == 120 + LABELS - int(LABELS * config.production.holdout)
    assert len(holdout) == 30 + int(LABELS * config.production.holdout)


def test_the_lineage_of_the_new_champion_names_snapshot_and_watermark(recovered: Recovered, settings: Settings) -> None:
    config, summary, _ = recovered
    found = lineage(settings, ProductionPointer(settings, config.model), str(summary.run.version))
    assert found["data"]["snapshot"] == summary.run.snapshot == found["data"]["version"]
    assert found["data"]["watermark"] == str(summary.run.watermark)
    assert found["config"]["content"]["pipeline"] == "continuous_training"


@pytest.mark.slow
def test_the_new_champion_can_be_trained_again_from_its_snapshot(recovered: Recovered, settings: Settings) -> None:
    config, summary, _ = recovered
    pointer = ProductionPointer(settings, config.model)
    again = reproduce(settings, pointer, str(summary.run.version), ROOT)
    assert again.identical, again.differences


def test_without_new_labels_there_is_nothing_to_run_again(recovered: Recovered, settings: Settings) -> None:
    config, summary, _ = recovered
    again = run_in(settings, config)
    assert again.pipeline is None
    assert again.run == summary.run


def test_random_labels_leave_the_champion_where_it_is(settings: Settings, store: Store, tmp_path: Path) -> None:
    model = "poisoned_at_random"
    production(settings, store, model, tmp_path, "labels.noise=0.4", first=0)
    summary = run_in(settings, config_for(model, name="continuous_training"))
    assert (summary.run.state, decision(summary).champion) == ("refused", "1")
    assert "against_champion" in refusals(summary)
    assert "against_champion" in str(summary.run.outcome)


def test_a_class_that_is_flipped_on_purpose_leaves_the_champion_where_it_is(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    model = "poisoned_on_purpose"
    production(settings, store, model, tmp_path, "labels.flip={versicolor: virginica}", first=0)
    summary = run_in(settings, config_for(model, name="continuous_training"))
    assert (summary.run.state, decision(summary).champion) == ("refused", "1")
    assert "reference_holdout" in refusals(summary)
    assert "reference_holdout" in str(summary.run.outcome)


def test_a_warm_start_goes_on_from_the_champion_and_keeps_its_embedder(
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
    assert before is not None
    assert after is not None
    assert version == "2"
    rows = before.schema.select(before.sample) if before.sample is not None else None
    assert rows is not None
    assert np.array_equal(before.model["embed"].transform(rows), after.model["embed"].transform(rows))
    assert set(before.training_rows) < set(after.training_rows)
    found = lineage(settings, ProductionPointer(settings, model), "2")
    assert found["data"]["warm_start"] == "1"
