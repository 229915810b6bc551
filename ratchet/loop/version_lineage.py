"""The lineage of a version or a prediction, from MLflow, the ledger and the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.store.erasures import Erasures
from ratchet.store.timestamps import iso_utc
from ratchet.tracking import run_record
from ratchet.tracking.lineage import whole_lineage

if TYPE_CHECKING:
    from ratchet.loop.prediction_place import Place
    from ratchet.settings import Settings


def version_lineage(settings: Settings, pointer: ProductionPointer, number: str) -> dict[str, Any]:
    """Return the ids of everything that produced a version, and its promotions.

    Raises
    ------
    RegistryError: there is no such version, or MLflow cannot be read.
    """
    version = pointer.get(number)
    record = run_record(settings, version.run_id)
    tags = whole_lineage(settings, version.run_id, version.tags)
    data: dict[str, str] = {
        key: tags[key] for key in ("snapshot", "watermark", "reference_data_version", "warm_start") if key in tags
    }
    erasures = [each for each in Erasures(pointer.store, pointer.model).history() if number in each.versions]
    if erasures:
        data["forgotten"] = ", ".join(f"erasure {each.id} on {each.when[:10]}" for each in reversed(erasures))
    entry_fields = ("when", "kind", "state", "from_version", "reason", "actor")
    return {
        "model": version.model,
        "version": version.version,
        "stage": version.stage,
        "digest": version.digest,
        "mlflow_run": {"id": version.run_id, "name": record.name, "experiment": record.experiment},
        "zenml_run": {"id": tags.get("zenml_run_id"), "name": tags.get("zenml_run_name")},
        "git": {"commit": tags.get("git_commit"), "dirty": tags.get("git_dirty") == "true"},
        "data": {"name": record.dataset, "version": tags.get("data_version")} | data,
        "config": {"hash": tags.get("config_hash"), "seed": tags.get("seed"), "content": record.config},
        "libraries": {key.removeprefix("version."): tags[key] for key in sorted(tags) if key.startswith("version.")},
        "promotions": [
            {name: getattr(entry, name) for name in entry_fields}
            for entry in pointer.ledger.history()
            if entry.to_version == version.version
        ],
    }


def prediction_lineage(settings: Settings, pointer: ProductionPointer, place: Place) -> dict[str, Any]:
    """Return a prediction, its feedback, and the lineage of the version that made it.

    Raises
    ------
    RegistryError, StateError: the version was deleted, or MLflow or the store cannot be read.
    """
    found = place.prediction
    archived = {} if place.archive is None else {"archived_in": place.archive}
    return {
        "prediction": {
            "id": found["id"],
            "when": iso_utc(found["created_at"]),
            "features": found["features"],
            "prediction": found["prediction"],
            "score": found["score"],
        }
        | archived,
        "feedback": [
            {"when": iso_utc(row.created_at)}
            | {key: getattr(row, key) for key in ("revision", "target", "correct", "source")}
            for row in place.feedback
        ],
        **version_lineage(settings, pointer, found["version"]),
    }
