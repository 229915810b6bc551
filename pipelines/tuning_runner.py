"""From the config of a study to its best trial, trained, gated and perhaps promoted; and what there is to say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.progress import Listener
from pipelines.runner import RunSummary, execute, lineage_of, run_training
from ratchet.config.tuning import TuningConfig
from ratchet.data import dataset_version
from ratchet.experiments.tuning.progress import listening
from ratchet.experiments.tuning.proposals import check_search, most_trials
from ratchet.experiments.tuning.record import BEST, best_config
from ratchet.experiments.tuning.space import check_space, values_of
from ratchet.experiments.tuning.study_storage import StudyBook, study_name
from ratchet.experiments.tuning.summary import StudySummary, TrialRecord
from ratchet.settings import Settings, prepare_home, without_password

STEPS = ("ingest", "tune")


@dataclass(frozen=True)
class TuningPlan:
    """What a run would do, found out without writing anything."""

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
    best_file: Path


def plan_tuning(config: TuningConfig, settings: Settings) -> TuningPlan:
    """Check all that can be checked before a study begins.

    Raises
    ------
    ConfigError: the estimator does not take what the space has, or sampler and pruner cannot be made.
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
        baseline="trial 0" if own is not None else f"scored beside the trials: {why_not}",
    )


def run_tuning(
    config: TuningConfig,
    settings: Settings,
    *,
    label: str,
    cache: bool,
    verbose: bool,
    listener: Listener,
    on_trial: Callable[[TrialRecord], None] = lambda _: None,
) -> TuningRun:
    """Run or go on with a study, then train the best that it found.

    Parameters
    ----------
    config: what to search, and how.
    settings, label, cache, verbose, listener: as for ``pipelines.runner.run_training``.
    on_trial: told of each trial of the study.

    Raises
    ------
    RatchetError: whatever a step found wrong that a person can mend.
    """
    prepare_home(settings)
    plan = plan_tuning(config, settings)
    StudyBook(settings, config, plan.data_version).close()  # refuses another study's name before anything runs
    how: dict[str, Any] = {"label": label, "cache": cache, "verbose": verbose, "listener": listener}

    def start(configured: Any) -> Any:
        return configured(config, lineage_of(config, settings, plan.data_version))

    with listening(on_trial):
        run = execute(_tuning, start, config.model, settings, **how)
    step = run.steps["tune"]
    study: StudySummary = step.outputs["study"][0].load()
    trained = run_training(best_config(config, study), settings, **how, study=study.study, trial=study.best.number)
    return TuningRun(
        study=study,
        training=trained,
        run_name=run.name,
        mlflow_run_id=str(step.run_metadata.get("mlflow_run_id", "")),
        best_file=settings.models_dir / config.model / BEST,
    )


def _tuning() -> Any:
    from pipelines.tuning import tuning

    return tuning
