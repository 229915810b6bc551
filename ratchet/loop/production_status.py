"""The status of Production: the current version, its metrics, its history, and the state of continuous training."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ratchet.loop.heartbeat import last_beat
from ratchet.loop.training_runs import TrainingRuns, labels_waiting
from ratchet.loop.verdict import verdict
from ratchet.monitoring.windows import drift_windows, newest_label_check, quality_windows
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.store.timestamps import iso_utc
from ratchet.tracking import run_record

if TYPE_CHECKING:
    from ratchet.settings import Settings
    from ratchet.store.database import Store


def status(settings: Settings, pointer: ProductionPointer) -> dict[str, Any]:
    """Return the version in Production with its metrics, lineage and loop status; None values without a version.

    Raises
    ------
    RegistryError, StateError: MLflow or the store cannot be read.
    """
    current, loop = pointer.current(), _loop_status(pointer.store, pointer.model)
    if current is None:
        return {"model": pointer.model, "in_production": None, "verdict": verdict(pointer, None, loop)}
    entry = pointer.ledger.last_completed()
    promotion = entry if entry and entry.to_version == current.version else None
    record = run_record(settings, current.run_id, with_config=False)
    return {
        "model": pointer.model,
        "in_production": current.version,
        "since": promotion.when if promotion else None,
        "by": promotion.actor if promotion else None,
        "kind": promotion.kind if promotion else None,
        "reason": promotion.reason if promotion else None,
        "metrics": record.quality,
        "trained": iso_utc(current.created_at),
        "data": record.dataset,
        "data_version": current.lineage.get("data_version"),
        "git_commit": current.lineage.get("git_commit"),
        "digest": current.digest,
        "loop": loop,
        "verdict": verdict(pointer, current.version, loop),
    }


def history(pointer: ProductionPointer, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the ledger's entries as plain values, newest first."""
    return [{**asdict(entry), "when": entry.when} for entry in pointer.ledger.history(limit)]


def _loop_status(store: Store, model: str) -> dict[str, Any]:
    run = TrainingRuns(store, model).last()
    drift, quality = drift_windows(store, model, None, 1), quality_windows(store, model, None, 1)
    beat = last_beat(store, model)
    names = ("id", "watermark", "state", "reason", "outcome", "version", "attempts", "when")
    return {
        "watcher": None if beat is None else {"when": iso_utc(beat.at), "interval": beat.interval},
        "labels_waiting": labels_waiting(store, model, run),
        "drift": _window(drift[0], "share", "detected") if drift else None,
        "labels": _label_check(newest_label_check(store, model)),
        "quality": _window(quality[0], "metric", "value", "low", "high", "estimate", "dropped") if quality else None,
        "run": None if run is None else {name: getattr(run, name) for name in names},
    }


def _label_check(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    report = row["report"]
    return {"biased": row["biased"], "when": iso_utc(row["created_at"])} | {
        name: report[name] for name in ("evidence", "n_rows", "n_labelled", "audit_share", "reason")
    }


def _window(row: dict[str, Any], *names: str) -> dict[str, Any]:
    when = iso_utc(row["created_at"])
    return {"version": row["version"], "when": when, "rows": row["n_rows"]} | {name: row[name] for name in names}
