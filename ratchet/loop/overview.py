"""What is in Production, since when, how good it is, and where it came from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ratchet.feedback.table import feedback_of
from ratchet.loop.status import loop_status
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.store.timestamps import iso_utc
from ratchet.tracking import run_record
from ratchet.tracking.lineage import PREFIX

if TYPE_CHECKING:
    from ratchet.registry.promotion_ledger import Entry
    from ratchet.settings import Settings
    from ratchet.store.predictions import Prediction


def status(settings: Settings, pointer: ProductionPointer) -> dict[str, Any]:
    """The version in Production with its figures, or the fact that there is none.

    Raises
    ------
    RegistryError, StateError: MLflow or the store cannot be read.
    """
    current = pointer.current()
    if current is None:
        return {"model": pointer.model, "in_production": None}
    entry = pointer.ledger.last_completed()
    known = entry if entry and entry.to_version == current.version else None
    record = run_record(settings, current.run_id)
    return {
        "model": pointer.model,
        "in_production": current.version,
        "since": known.when if known else None,
        "by": known.actor if known else None,
        "reason": known.reason if known else None,
        "metrics": record.quality,
        "trained": iso_utc(current.created_at),
        "data": record.dataset,
        "data_version": current.tags.get(f"{PREFIX}data_version"),
        "git_commit": current.tags.get(f"{PREFIX}git_commit"),
        "digest": current.digest,
        "loop": loop_status(pointer.store, pointer.model),
    }


def lineage(settings: Settings, pointer: ProductionPointer, number: str) -> dict[str, Any]:
    """From a version back to everything that made it, each by its id.

    Raises
    ------
    RegistryError: there is no such version, or MLflow cannot be read.
    """
    version = pointer.get(number)
    record = run_record(settings, version.run_id)
    tags = {key.removeprefix(PREFIX): value for key, value in version.tags.items() if key.startswith(PREFIX)}
    libraries = {k.removeprefix("version."): tags.pop(k) for k in sorted(tags) if k.startswith("version.")}
    return {
        "model": version.model,
        "version": version.version,
        "stage": version.stage,
        "digest": version.digest,
        "mlflow_run": {"id": version.run_id, "name": record.name, "experiment": record.experiment},
        "zenml_run": {"id": tags.get("zenml_run_id"), "name": tags.get("zenml_run_name")},
        "git": {"commit": tags.get("git_commit"), "dirty": tags.get("git_dirty") == "true"},
        "data": {"name": record.dataset, "version": tags.get("data_version")}
        | {key: tags[key] for key in ("snapshot", "watermark", "reference_data_version", "warm_start") if key in tags},
        "config": {"hash": tags.get("config_hash"), "seed": tags.get("seed"), "content": record.config},
        "libraries": libraries,
        "promotions": [_brief(entry) for entry in pointer.ledger.history() if entry.to_version == version.version],
    }


def prediction_lineage(settings: Settings, pointer: ProductionPointer, found: Prediction) -> dict[str, Any]:
    """From a prediction to what was said of it, and back to everything that made the version which answered.

    Raises
    ------
    RegistryError, StateError: the version is gone, or MLflow or the store cannot be read.
    """
    said = feedback_of(pointer.store, found["id"])
    return {
        "prediction": {
            "id": found["id"],
            "when": iso_utc(found["created_at"]),
            "features": found["features"],
            "prediction": found["prediction"],
            "score": found["score"],
        },
        "feedback": [
            {"when": iso_utc(row["created_at"])}
            | {key: row[key] for key in ("revision", "target", "correct", "source")}
            for row in said
        ],
        **lineage(settings, pointer, found["version"]),
    }


def history(pointer: ProductionPointer, limit: int | None = None) -> list[dict[str, Any]]:
    """The ledger as plain values, newest first."""
    return [{**asdict(entry), "when": entry.when} for entry in pointer.ledger.history(limit)]


def _brief(entry: Entry) -> dict[str, Any]:
    return {key: getattr(entry, key) for key in ("when", "kind", "state", "from_version", "reason", "actor")}
