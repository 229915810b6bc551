"""From a config to a finished pipeline run, and what there is to say of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.progress import Listener, step_events
from pipelines.stack import ROOT, ensure_stack, use_embedded_store
from pipelines.startup import one_scan_of_installed_packages
from ratchet.config import TrainingConfig
from ratchet.errors import RatchetError
from ratchet.settings import Settings, one_run_at_a_time, prepare_home

if TYPE_CHECKING:
    from ratchet.tracking.lineage import Lineage

STEPS = ("ingest", "embed", "train", "evaluate", "drift_check", "promote")


@dataclass(frozen=True)
class StepSummary:
    """One step of a finished run: its status (``completed`` or ``cached``) and how long it took, in seconds."""

    name: str
    status: str
    seconds: float


@dataclass(frozen=True)
class RunSummary:
    """A finished pipeline run."""

    config: TrainingConfig
    evaluation: Any
    promotion: Any
    drift: Any
    steps: tuple[StepSummary, ...]
    run_name: str
    zenml_run_id: str
    mlflow_run_id: str
    tracking_uri: str
    exports: Path


@dataclass(frozen=True)
class Plan:
    """What a run would do, found out without writing anything."""

    data_version: str
    estimator: str
    steps: tuple[str, ...] = STEPS


def plan_training(config: TrainingConfig) -> Plan:
    """Check all that can be checked before a run begins.

    Raises
    ------
    ConfigError: the estimator or a hyper-parameter is not what it should be.
    DataError: the data set cannot be read.
    """
    from ratchet.data import dataset_version
    from ratchet.model.batches.training import require_partial_fit
    from ratchet.model.training import build_estimator
    from ratchet.registry.warm_start import require_can_continue

    estimator = build_estimator(config.train, config.task, config.seed)
    if config.train.mode == "warm_start":
        require_can_continue(estimator, config.train.estimator)
    if getattr(config.dataset, "batch_rows", None):
        require_partial_fit(estimator, config.train.estimator)
    return Plan(data_version=dataset_version(config.dataset), estimator=" ".join(repr(estimator).split()))


def run_training(
    config: TrainingConfig,
    settings: Settings,
    *,
    label: str,
    cache: bool,
    verbose: bool,
    listener: Listener,
    **origin: Any,
) -> RunSummary:
    """Run the training pipeline and wait for its end.

    Parameters
    ----------
    config: what to do.
    settings: where things are.
    label: begins the run's name; the config file's name without its ending.
    cache: whether finished steps may be taken from earlier runs.
    verbose: leave ZenML's and MLflow's own output on the console.
    listener: told of every step.
    origin: what else the lineage says, such as the study that found the config.

    Raises
    ------
    RatchetError: whatever a step found wrong that a person can mend.
    """
    prepare_home(settings)
    plan = plan_training(config)

    def start(configured: Any) -> Any:
        return configured(config, lineage_of(config, settings, plan.data_version, **origin))

    run = execute(_training, start, config.model, settings, label, cache=cache, verbose=verbose, listener=listener)
    return summary_of(run, config, settings)


def execute(
    load: Callable[[], Any],
    start: Callable[[Any], Any],
    experiment: str,
    settings: Settings,
    label: str,
    *,
    cache: bool,
    verbose: bool,
    listener: Listener,
) -> Any:
    """Run a pipeline on the active stack, alone in this home, and wait for its end.

    Parameters
    ----------
    load: imports the pipeline; called when ZenML may be imported.
    start: given the configured pipeline, calls it with its arguments.
    experiment: the MLflow experiment of its run.
    settings, label, cache, verbose, listener: as for ``run_training``.

    Returns
    -------
    ZenML's record of the run.

    Raises
    ------
    RatchetError: whatever a step found wrong that a person can mend, or a step did not finish.
    """
    with one_run_at_a_time(settings):
        embedded = use_embedded_store(settings)
        with step_events(listener, verbose=verbose), one_scan_of_installed_packages():
            from zenml.integrations.mlflow.flavors.mlflow_experiment_tracker_flavor import (
                MLFlowExperimentTrackerSettings,
            )

            from ratchet.tracking import ensure_experiment

            pipeline = load()  # makes ZenML's store on its first import, and says so
            ensure_stack(settings, embedded=embedded)
            ensure_experiment(settings, experiment)
            run = start(
                pipeline.with_options(
                    run_name=_run_name(label),
                    enable_cache=None if cache else False,
                    settings={"experiment_tracker": MLFlowExperimentTrackerSettings(experiment_name=experiment)},
                )
            )
    failed = [name for name, step in run.steps.items() if step.status.value not in ("completed", "cached")]
    if failed:
        raise RatchetError(f"the pipeline run {run.name} ended with unfinished steps: {', '.join(failed)}")
    return run


def lineage_of(config: TrainingConfig, settings: Settings, data_version: str, **more: Any) -> Lineage:
    """Where a run that is about to start comes from, the version that it goes on from included."""
    from ratchet.registry.warm_start import find_base
    from ratchet.tracking.lineage import collect

    found: Lineage = collect(config, data_version, ROOT)
    return found.model_copy(update={"warm_start": find_base(settings, config), **more})


def _training() -> Any:
    from pipelines.training import training

    return training


def _run_name(label: str) -> str:
    return f"{label}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def summary_of(run: Any, config: TrainingConfig, settings: Settings) -> RunSummary:
    """What there is to say of a finished run."""
    steps = run.steps
    return RunSummary(
        config=config,
        evaluation=steps["evaluate"].outputs["evaluation"][0].load(),
        drift=steps["drift_check"].outputs["drift"][0].load(),
        promotion=steps["promote"].outputs["promotion"][0].load(),
        steps=tuple(_step_summary(name, steps[name]) for name in STEPS),
        run_name=run.name,
        zenml_run_id=str(run.id),
        mlflow_run_id=str(steps["evaluate"].run_metadata.get("mlflow_run_id", "")),
        tracking_uri=settings.tracking_place,
        exports=settings.models_dir / config.model,
    )


def _step_summary(name: str, step: Any) -> StepSummary:
    cached = step.status.value == "cached"
    seconds = 0.0 if cached else (step.end_time - step.start_time).total_seconds()
    return StepSummary(name, step.status.value, seconds)
