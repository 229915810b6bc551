"""One run of continuous training: begun once for each watermark, resumed after a crash, ended with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.operations import open_pointer
from pipelines.progress import silence_libraries
from pipelines.runner import RunOptions, RunSummary, execute, lineage_of, plan_training, summary_of
from pipelines.stack import ROOT
from ratchet.config import config_hash
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data.dvc_remote import require_remote
from ratchet.data.snapshots import Snapshot, describe_snapshot, fetch_snapshot, push_snapshot
from ratchet.errors import ConfigError, RatchetError, RegistryError, StateError
from ratchet.loop.snapshots import build_snapshot
from ratchet.loop.training_runs import MOST_ATTEMPTS, TrainingRun, TrainingRuns
from ratchet.monitoring.production_rows import watermark
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.database import Store, open_store
from ratchet.store.failpoints import failpoint
from ratchet.tracking import registered_models

# Seconds until the run of a dead process may be resumed.
LEASE = 20.0


@dataclass(frozen=True)
class ContinuousSummary:
    """How a run of continuous training ended; ``pipeline`` is None if the run had ended before."""

    run: TrainingRun
    pipeline: RunSummary | None
    rows: str = ""


def run_on_snapshot(
    config: ContinuousTrainingConfig, settings: Settings, version: str, options: RunOptions
) -> RunSummary:
    """Train on the snapshot of an earlier run, as ``reproduce`` does, without recording a run.

    Parameters
    ----------
    config, settings, options: of the run.
    version: hash of the snapshot.

    Raises
    ------
    DataError: the snapshot is neither in this home nor on the DVC remote.
    StateError: another run of this model is in progress.
    """
    plan_training(config)
    fetch_snapshot(settings, version)
    store = open_store(settings)
    with leases.held(store, TrainingRuns(store, config.model).lease_name, LEASE, wait=0.0, renewed=True):
        return _train(config, settings, describe_snapshot(settings, version), None, options)


def run_continuous(
    config: ContinuousTrainingConfig, settings: Settings, options: RunOptions, *, number: int | None = None
) -> ContinuousSummary:
    """Resume the open run, or else train on the production rows since the last run.

    Parameters
    ----------
    config, settings, options: of the run.
    number: the run to make; one that has ended is left as it is. None takes the open one, or a new one.

    Raises
    ------
    ConfigError: ``RATCHET_DVC_REMOTE`` is not a remote, or there is no run ``number``; no run was begun.
    RegistryError, StateError: MLflow, the store or the DVC remote cannot be used, and the run stays open for the next
        attempt; or another run of this model is in progress.
    RatchetError: a step found another error that a user can fix; the run has failed.
    """
    silence_libraries()
    if settings.dvc_remote:
        require_remote(ROOT, settings.dvc_remote)
    store = open_store(settings)
    runs = TrainingRuns(store, config.model)
    with leases.held(store, runs.lease_name, LEASE, wait=0.0, renewed=True):
        run = _select_run(runs, store, config, settings, number)
        if run.state == "open":
            run = runs.begin(run, config_hash(config))
        if run.state == "open" and run.attempts > MOST_ATTEMPTS:
            run = runs.end(run, "failed", f"its process was killed {MOST_ATTEMPTS} times")
        if run.state != "open":
            return ContinuousSummary(run, None)
        try:
            return _run(runs, run, store, config, settings, options)
        except (RegistryError, StateError):
            runs.postpone(run)  # MLflow or the store can be available at the next attempt
            raise
        except RatchetError as error:
            runs.end(run, "failed", str(error))
            raise


def _select_run(
    runs: TrainingRuns, store: Store, config: ContinuousTrainingConfig, settings: Settings, number: int | None
) -> TrainingRun:
    """Return the run to make, or the ended one if there is nothing to do."""
    run = runs.unfinished() if number is None else runs.get(number)
    if run is not None:
        return run
    if number is not None:
        raise ConfigError(f"--run: {config.model} has no run {number} of continuous training")
    mark, digest = watermark(store, config.model), config_hash(config)
    run = runs.open(mark, digest, f"begun by {settings.actor}") or runs.find(mark, digest)
    if run is None:
        raise StateError(f"another process has just begun a run of {config.model}; try again")
    # A user who repeats a failed run may have fixed its cause.
    return runs.reopen(run) if run.state == "failed" else run


def _run(
    runs: TrainingRuns,
    run: TrainingRun,
    store: Store,
    config: ContinuousTrainingConfig,
    settings: Settings,
    options: RunOptions,
) -> ContinuousSummary:
    plan_training(config)
    snapshot = build_snapshot(settings, config, store, run.watermark)
    runs.update(run, snapshot=snapshot.version)
    push_snapshot(settings, snapshot.version)
    failpoint("after_snapshot")
    _recover_promotion(settings, config.model)
    summary = _train(config, settings, snapshot, run.operation_id, options)
    failpoint("after_pipeline")
    promotion = summary.promotion
    ended = runs.end(run, promotion.outcome, promotion.reason, version=promotion.version, run_id=summary.mlflow_run_id)
    return ContinuousSummary(ended, summary, snapshot.summary)


def _recover_promotion(settings: Settings, model: str) -> None:
    """Complete or undo a promotion that a killed attempt left unfinished."""
    if model in registered_models(settings):
        pointer = open_pointer(settings, model)
        if pointer.ledger.unfinished():
            pointer.recover()


def _train(
    config: ContinuousTrainingConfig,
    settings: Settings,
    snapshot: Snapshot,
    operation_id: str | None,
    options: RunOptions,
) -> RunSummary:
    def start(pipeline: Any) -> Any:
        lineage = lineage_of(
            config,
            settings,
            snapshot.version,
            snapshot=snapshot.version,
            watermark=snapshot.watermark,
            reference_data_version=snapshot.reference_version,
        )
        return pipeline(config, lineage, snapshot, operation_id)

    return summary_of(execute("continuous_training", start, config.model, settings, options), config, settings)
