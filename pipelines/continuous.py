"""One run of continuous training: begun once for a watermark, picked up where a crash left it, ended with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.progress import Listener
from pipelines.runner import RunSummary, execute, lineage_of, plan_training, summary_of
from ratchet import leases
from ratchet.config import config_hash
from ratchet.config_loop import ContinuousTrainingConfig
from ratchet.errors import RatchetError, RegistryError, StateError
from ratchet.failpoints import failpoint
from ratchet.production import watermark
from ratchet.settings import Settings
from ratchet.snapshots import Snapshot, build_snapshot, describe_snapshot
from ratchet.store import Store, open_store
from ratchet.training_runs import MOST_ATTEMPTS, TrainingRun, TrainingRuns

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
    DataError: there is no such snapshot in this home.
    """
    plan_training(config)
    return _train(config, settings, describe_snapshot(settings, version), f"snapshot-{version}", **how)


def run_continuous(
    config: ContinuousTrainingConfig, settings: Settings, *, label: str, cache: bool, verbose: bool, listener: Listener
) -> ContinuousSummary:
    """Run what is open, or else what production has said since the last run.

    Parameters
    ----------
    config, settings, label, cache, verbose, listener: as for ``pipelines.runner.run_training``.

    Raises
    ------
    StateError: another run of this model is under way.
    RegistryError, StateError: MLflow or the store cannot be used; the run stays open for the next attempt.
    RatchetError: whatever else a step found wrong that a person can mend; the run has failed.
    """
    store = open_store(settings)
    runs = TrainingRuns(store, config.model)
    with leases.kept(store, runs.lease_name, LEASE):
        run, is_new = _wanted(runs, store, config, settings)
        if not is_new:
            return ContinuousSummary(run, None)
        run = runs.begin(run, config_hash(config))
        decided = run if run.state != "open" else _decided_before(runs, run, settings, config)
        if decided:
            return ContinuousSummary(decided, None)
        try:
            how: dict[str, Any] = {"label": label, "cache": cache, "verbose": verbose, "listener": listener}
            return _run(runs, run, store, config, settings, how)
        except (RegistryError, StateError):
            raise  # the run stays open: what is away now may be back at the next attempt
        except RatchetError as error:
            runs.end(run, "failed", str(error))
            raise


def _wanted(
    runs: TrainingRuns, store: Store, config: ContinuousTrainingConfig, settings: Settings
) -> tuple[TrainingRun, bool]:
    """The run to make, and whether there is anything to do for it."""
    run = runs.unfinished()
    if run is not None:
        return run, True
    mark, digest = watermark(store, config.model), config_hash(config)
    run = runs.open(mark, digest, f"begun by {settings.actor}")
    if run is not None:
        return run, True
    past = runs.find(mark, digest)
    if past is None:
        raise RatchetError(f"the run of {config.model} for watermark {mark} is gone; try again")
    return past, False


def _decided_before(
    runs: TrainingRuns, run: TrainingRun, settings: Settings, config: ContinuousTrainingConfig
) -> TrainingRun | None:
    """The run, ended, where an earlier attempt died after the gate had spoken; or one that has died too often."""
    from ratchet.registry import ProductionPointer

    pointer = ProductionPointer(settings, config.model)
    if pointer.ledger.unfinished():
        pointer.recover()
    entry = pointer.ledger.find(run.operation_id)
    if entry and entry.state in ("completed", "refused"):
        state = "promoted" if entry.state == "completed" else "refused"
        return runs.end(run, state, entry.reason, version=entry.to_version, run_id=entry.run_id)
    if run.attempts > MOST_ATTEMPTS:
        return runs.end(run, "failed", f"it died {MOST_ATTEMPTS} times before its end")
    return None


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
    runs.note(run, snapshot=snapshot.version)
    failpoint("after_snapshot")
    summary = _train(config, settings, snapshot, run.operation_id, **how)
    failpoint("after_pipeline")
    promotion = summary.promotion
    ended = runs.end(run, promotion.outcome, promotion.reason, version=promotion.version, run_id=summary.mlflow_run_id)
    return ContinuousSummary(ended, summary, snapshot.summary)


def _train(
    config: ContinuousTrainingConfig,
    settings: Settings,
    snapshot: Snapshot,
    operation_id: str,
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
