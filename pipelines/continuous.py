"""One run of continuous training: begun once for a watermark, picked up where a crash left it, ended with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.operations import open_pointer
from pipelines.progress import Listener, hush
from pipelines.runner import RunSummary, execute, lineage_of, plan_training, summary_of
from pipelines.stack import ROOT
from ratchet.config import config_hash
from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.data.dvc_remote import require_remote
from ratchet.data.snapshots import Snapshot, bring_snapshot, describe_snapshot, share_snapshot
from ratchet.errors import ConfigError, RatchetError, RegistryError, StateError
from ratchet.loop.snapshots import build_snapshot
from ratchet.loop.training_runs import MOST_ATTEMPTS, TrainingRun, TrainingRuns
from ratchet.monitoring.production_rows import watermark
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.database import Store, open_store
from ratchet.store.failpoints import failpoint
from ratchet.tracking import registered_models

# Seconds until the run of a process that died may be picked up.
LEASE = 20.0


@dataclass(frozen=True)
class ContinuousSummary:
    """How a run of continuous training ended; ``pipeline`` is None where there was nothing left to run."""

    run: TrainingRun
    pipeline: RunSummary | None
    rows: str = ""


def run_on_snapshot(config: ContinuousTrainingConfig, settings: Settings, version: str, **how: Any) -> RunSummary:
    """Train on the rows of an earlier run, as ``reproduce`` does; no run is written down.

    Parameters
    ----------
    config, settings: as for ``run_continuous``, and ``how`` its other parameters.
    version: the snapshot's hash.

    Raises
    ------
    DataError: there is no such snapshot, in this home or on the DVC remote.
    StateError: a run of this model is under way.
    """
    plan_training(config)
    bring_snapshot(settings, version, ROOT)
    store = open_store(settings)
    with leases.held(store, TrainingRuns(store, config.model).lease_name, LEASE, wait=0.0, renewed=True):
        return _train(config, settings, describe_snapshot(settings, version), None, **how)


def run_continuous(
    config: ContinuousTrainingConfig,
    settings: Settings,
    *,
    number: int | None = None,
    label: str,
    cache: bool,
    verbose: bool,
    listener: Listener,
) -> ContinuousSummary:
    """Run what is open, or else what production has said since the last run.

    Parameters
    ----------
    config, settings, label, cache, verbose, listener: as for ``pipelines.runner.run_training``.
    number: the one run that is wanted; one that has ended is left as it is. None for whatever there is to do.

    Raises
    ------
    ConfigError: ``RATCHET_DVC_REMOTE`` names no remote; no run was begun.
    RegistryError, StateError: MLflow, the store or the DVC remote cannot be used, and the run stays open for the next
        attempt; or another run of this model is under way.
    RatchetError: whatever else a step found wrong that a person can mend; the run has failed.
    """
    hush()
    if settings.dvc_remote:
        require_remote(ROOT, settings.dvc_remote)
    store = open_store(settings)
    runs = TrainingRuns(store, config.model)
    with leases.held(store, runs.lease_name, LEASE, wait=0.0, renewed=True):
        run = _wanted(runs, store, config, settings, number)
        if run.state == "open":
            run = runs.begin(run, config_hash(config))
        if run.state == "open" and run.attempts > MOST_ATTEMPTS:
            run = runs.end(run, "failed", f"it died {MOST_ATTEMPTS} times before its end")
        if run.state != "open":
            return ContinuousSummary(run, None)
        try:
            how: dict[str, Any] = {"label": label, "cache": cache, "verbose": verbose, "listener": listener}
            return _run(runs, run, store, config, settings, how)
        except (RegistryError, StateError):
            runs.postpone(run)  # MLflow or the store can be available at the next attempt
            raise
        except RatchetError as error:
            runs.end(run, "failed", str(error))
            raise


def _wanted(
    runs: TrainingRuns, store: Store, config: ContinuousTrainingConfig, settings: Settings, number: int | None
) -> TrainingRun:
    """The run to make; one that has ended already where there is nothing to do."""
    run = runs.unfinished() if number is None else runs.get(number)
    if run is not None:
        return run
    if number is not None:
        raise ConfigError(f"--run: {config.model} has no run {number} of continuous training")
    mark, digest = watermark(store, config.model), config_hash(config)
    run = runs.open(mark, digest, f"begun by {settings.actor}")
    past = run or runs.find(mark, digest)
    if past is None:
        raise StateError(f"somebody else has just begun a run of {config.model}; try again")
    # What a person asks for again after a failure may have been mended.
    return runs.reopen(past) if past.state == "failed" else past


def _run(
    runs: TrainingRuns,
    run: TrainingRun,
    store: Store,
    config: ContinuousTrainingConfig,
    settings: Settings,
    how: dict[str, Any],
) -> ContinuousSummary:
    plan_training(config)
    snapshot = build_snapshot(settings, config, store, run.watermark)
    runs.update(run, snapshot=snapshot.version)
    share_snapshot(settings, snapshot.version, ROOT)
    failpoint("after_snapshot")
    _settle(settings, config.model)
    summary = _train(config, settings, snapshot, run.operation_id, **how)
    failpoint("after_pipeline")
    promotion = summary.promotion
    ended = runs.end(run, promotion.outcome, promotion.reason, version=promotion.version, run_id=summary.mlflow_run_id)
    return ContinuousSummary(ended, summary, snapshot.summary)


def _settle(settings: Settings, model: str) -> None:
    """End what an attempt that was killed in the middle of a promotion has left open."""
    if model in registered_models(settings):
        pointer = open_pointer(settings, model)
        if pointer.ledger.unfinished():
            pointer.recover()


def _train(
    config: ContinuousTrainingConfig,
    settings: Settings,
    snapshot: Snapshot,
    operation_id: str | None,
    *,
    label: str,
    cache: bool,
    verbose: bool,
    listener: Listener,
) -> RunSummary:
    """Run the pipeline on a snapshot."""

    def start(configured: Any) -> Any:
        lineage = lineage_of(
            config,
            settings,
            snapshot.version,
            snapshot=snapshot.version,
            watermark=snapshot.watermark,
            reference_data_version=snapshot.reference_version,
        )
        return configured(config, lineage, snapshot, operation_id)

    finished = execute(
        _continuous_training, start, config.model, settings, label, cache=cache, verbose=verbose, listener=listener
    )
    return summary_of(finished, config, settings)


def _continuous_training() -> Any:
    from pipelines.continuous_training import continuous_training

    return continuous_training
