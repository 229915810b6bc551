"""Run a pipeline, and summarise the finished training run."""

from __future__ import annotations

import importlib
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import cached_steps
from pipelines.progress import Listener, step_events
from pipelines.stack import ROOT, ensure_stack, use_embedded_store
from pipelines.startup import cached_package_scan
from ratchet.config import TrainingConfig
from ratchet.errors import RatchetError
from ratchet.loop.machines import register_at_start
from ratchet.settings import Settings, one_run_at_a_time, prepare_home

if TYPE_CHECKING:
    from ratchet.tracking.lineage import Lineage

STEPS = ("ingest", "embed", "train", "evaluate", "drift_check", "promote")
_NOT_IN_A_RUN_NAME = re.compile(r"[{}\x00-\x1f\x7f]")
_LONGEST_LABEL = 100


@dataclass(frozen=True)
class RunOptions:
    """How a pipeline runs.

    Attributes
    ----------
    label: first part of the run's name; the stem of the config file.
    cache: whether finished steps may be taken from earlier runs.
    verbose: whether the output of ZenML and MLflow is shown.
    listener: called with each step event.
    """

    label: str
    cache: bool = True
    verbose: bool = False
    listener: Listener = lambda _name, _event: None


@dataclass(frozen=True)
class StepSummary:
    """One step of a finished run: its status (``completed`` or ``cached``) and its duration in seconds."""

    name: str
    status: str
    seconds: float


@dataclass(frozen=True)
class RunSummary:
    """A finished run of a training pipeline."""

    config: TrainingConfig
    evaluation: Any
    promotion: Any
    drift: Any
    steps: tuple[StepSummary, ...]
    run_name: str
    zenml_run_id: str
    mlflow_run_id: str
    tracking_uri: str
    mlflow_url: str
    exports: Path
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a training run would use."""

    data_version: str
    estimator: str
    steps: tuple[str, ...] = STEPS


def plan_training(config: TrainingConfig) -> Plan:
    """Check everything that can be checked before a run, and write nothing.

    Raises
    ------
    ConfigError: the estimator or a hyper-parameter is invalid.
    DataError: the data set cannot be read.
    """
    from ratchet.data import dataset_version
    from ratchet.model.batches.partial_fit import require_partial_fit
    from ratchet.model.training import build_estimator
    from ratchet.registry.warm_start import require_can_continue

    estimator = build_estimator(config.train, config.task, config.seed)
    if config.train.mode == "warm_start":
        require_can_continue(estimator, config.train.estimator)
    if getattr(config.dataset, "batch_rows", None):
        require_partial_fit(estimator, config.train.estimator)
    return Plan(data_version=dataset_version(config.dataset), estimator=" ".join(repr(estimator).split()))


def run_training(config: TrainingConfig, settings: Settings, options: RunOptions, **origin: Any) -> RunSummary:
    """Run the training pipeline, and wait for its end.

    Parameters
    ----------
    config, settings, options: of the run.
    origin: further fields of the lineage, such as the study that found the config.

    Raises
    ------
    RatchetError: a step found an error that a user can fix.
    """
    prepare_home(settings)
    plan = plan_training(config)

    def start(pipeline: Any) -> Any:
        return pipeline(config, lineage_of(config, settings, plan.data_version, **origin))

    return summary_of(execute("training", start, config.model, settings, options), config, settings)


def execute(name: str, start: Callable[[Any], Any], experiment: str, settings: Settings, options: RunOptions) -> Any:
    """Run a pipeline on the active stack, as the only run in this home, and return ZenML's record of the run.

    Parameters
    ----------
    name: of the pipeline and of its module in ``pipelines``.
    start: calls the configured pipeline with its arguments.
    experiment: the MLflow experiment.
    settings, options: of the run.

    Raises
    ------
    RatchetError: a step found an error that a user can fix, or a step did not finish.
    """
    register_at_start(settings, keeps_rows=name == "continuous_training")
    with one_run_at_a_time(settings):
        embedded = use_embedded_store(settings)
        with step_events(options.listener, verbose=options.verbose), cached_package_scan():
            from zenml.integrations.mlflow.flavors.mlflow_experiment_tracker_flavor import (
                MLFlowExperimentTrackerSettings,
            )

            from ratchet.tracking import ensure_experiment

            # The first import of ZenML creates its store, and logs that.
            pipeline = getattr(importlib.import_module(f"pipelines.{name}"), name)
            ensure_stack(settings, embedded=embedded)
            ensure_experiment(settings, experiment)
            configured = pipeline.with_options(
                run_name=f"{_run_label(options.label)}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
                enable_cache=None if options.cache else False,
                settings={"experiment_tracker": MLFlowExperimentTrackerSettings(experiment_name=experiment)},
            )
            with cached_steps.only_with_outputs(settings):
                run = start(configured)
    failed = [name for name, step in run.steps.items() if step.status.value not in ("completed", "cached")]
    if failed:
        raise RatchetError(f"the pipeline run {run.name} ended with unfinished steps: {', '.join(failed)}")
    return run


def _run_label(label: str) -> str:
    """Return the stem of a config file as a part of a run's name, in which ZenML replaces words in braces."""
    return _NOT_IN_A_RUN_NAME.sub("_", label)[:_LONGEST_LABEL]


def lineage_of(config: TrainingConfig, settings: Settings, data_version: str, **more: Any) -> Lineage:
    """Return the lineage of a run that is about to start, with the base version of a warm start."""
    from ratchet.registry.warm_start import find_base
    from ratchet.tracking.lineage import collect

    found: Lineage = collect(config, data_version, ROOT)
    return found.model_copy(update={"warm_start": find_base(settings, config), **more})


def summary_of(run: Any, config: TrainingConfig, settings: Settings) -> RunSummary:
    """Summarise a finished run of a training pipeline."""
    from ratchet.experiments.comparison.link import run_link

    steps = run.steps
    mlflow_run = mlflow_run_of(steps["evaluate"])
    return RunSummary(
        config=config,
        evaluation=steps["evaluate"].outputs["evaluation"][0].load(),
        drift=steps["drift_check"].outputs["drift"][0].load(),
        promotion=steps["promote"].outputs["promotion"][0].load(),
        steps=tuple(_step_summary(name, steps[name]) for name in STEPS),
        run_name=run.name,
        zenml_run_id=str(run.id),
        mlflow_run_id=mlflow_run,
        mlflow_url=run_link(settings, mlflow_run),
        tracking_uri=settings.tracking_place,
        exports=settings.models_dir / config.model,
        warnings=tuple(map(str, steps["ingest"].outputs["data_warnings"][0].load().found)),
    )


def mlflow_run_of(step: Any) -> str:
    """Return the id of the MLflow run that a finished step logged to."""
    return str(step.run_metadata.get("mlflow_run_id", ""))


def _step_summary(name: str, step: Any) -> StepSummary:
    cached = step.status.value == "cached"
    seconds = 0.0 if cached else (step.end_time - step.start_time).total_seconds()
    return StepSummary(name, step.status.value, seconds)
