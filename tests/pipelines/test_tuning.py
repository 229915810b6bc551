"""The tuning pipeline on real ZenML and MLflow stores."""

from __future__ import annotations

import pytest

from pipelines.runner import RunOptions
from pipelines.tuning_runner import run_tuning
from ratchet.config.files import load_config
from ratchet.settings import Settings
from ratchet.tracking import connect
from tests.training_runs import CONFIGS


@pytest.mark.slow
def test_a_study_is_logged_and_its_best_trial_is_trained_and_passes_the_gate(settings: Settings, model: str) -> None:
    overrides = [f"model={model}", "search.trials=3", "search.folds=2", "search.pruner={name: none}"]
    config = load_config(CONFIGS / "iris" / "tuning.yaml", overrides)
    ended = []
    run = run_tuning(config, settings, RunOptions("test"), ended.append)
    assert len(ended) == len(run.study.trials) == 3
    assert run.study.best.value == max(trial.value for trial in run.study.trials)
    assert run.training.promotion.outcome == "promoted"
    client = connect(settings)
    parent = client.get_run(run.mlflow_run_id)
    nested = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.mlflow_run_id}'")
    assert len(nested) == 3
    trained = client.get_run(run.training.mlflow_run_id)
    assert trained.data.tags["ratchet.trial"] == str(run.study.best.number)
    assert load_config(run.best_file).pipeline == "training"
