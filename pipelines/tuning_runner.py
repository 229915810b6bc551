"""Run a study of hyper-parameters, and train its best trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.runner import RunOptions, RunSummary, execute, lineage_of, mlflow_run_of, run_training
from ratchet.config.tuning import TuningConfig
from ratchet.data import dataset_version
from ratchet.experiments.comparison.link import run_link
from ratchet.experiments.tuning.record import BEST, best_config
from ratchet.experiments.tuning.samplers import check_search, most_trials
from ratchet.experiments.tuning.space import check_space, values_of
from ratchet.experiments.tuning.study_storage import open_study, study_name
from ratchet.experiments.tuning.summary import StudySummary, TrialRecord
from ratchet.experiments.tuning.trial_events import subscribed
from ratchet.settings import Settings, prepare_home, without_password

STEPS = ("ingest", "tune")


@dataclass(frozen=True)
class TuningPlan:
    """What a study would use."""

    study: str
    data_version: str
    trials: int
    batch: int
    storage: str
    baseline: str


@dataclass(frozen=True)
class TuningRun:
    """A study at the end of a run, and the training of its best trial."""

    study: StudySummary
    training: RunSummary
    run_name: str
    mlflow_run_id: str
    mlflow_url: str
    best_file: Path


def plan_tuning(config: TuningConfig, settings: Settings) -> TuningPlan:
    """Check everything that can be checked before a study, and write nothing.

    Raises
    ------
    ConfigError: the estimator refuses a value of the space, or sampler or pruner cannot be created.
    DataError: the data set cannot be read.
    """
    check_search(config.search)
    check_space(config)
    version = dataset_version(config.dataset)
    own, why_not = values_of(config)
    return TuningPlan(
        study=study_name(config, version),
        data_version=version,
        trials=most_trials(config.search),
        batch=config.batch,
        storage=without_password(settings.study_store),
        baseline="trial 0" if own is not None else f"scored in addition to the trials: {why_not}",
    )


def run_tuning(
    config: TuningConfig,
    settings: Settings,
    options: RunOptions,
    on_trial: Callable[[TrialRecord], None] = lambda _: None,
) -> TuningRun:
    """Run or resume a study, then train its best trial.

    Parameters
    ----------
    config, settings, options: of the run.
    on_trial: called with each finished trial.

    Raises
    ------
    RatchetError: a step found an error that a user can fix.
    """
    prepare_home(settings)
    plan = plan_tuning(config, settings)
    with open_study(settings, config, plan.data_version):
        pass  # a name that belongs to another study is refused before a step runs

    def start(pipeline: Any) -> Any:
        return pipeline(config, lineage_of(config, settings, plan.data_version))

    with subscribed(on_trial):
        run = execute("tuning", start, config.model, settings, options)
    step = run.steps["tune"]
    study: StudySummary = step.outputs["study"][0].load()
    trained = run_training(best_config(config, study), settings, options, study=study.study, trial=study.best.number)
    return TuningRun(
        study=study,
        training=trained,
        run_name=run.name,
        mlflow_run_id=mlflow_run_of(step),
        mlflow_url=run_link(settings, mlflow_run_of(step)),
        best_file=settings.models_dir / config.model / BEST,
    )
