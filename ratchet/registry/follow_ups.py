"""What follows a decision about a challenger: records and files that no decision depends on.

A follow-up that fails does not fail the run: it is a warning, which is logged, stored with the ledger's entry, and
repeated by ``doctor --repair``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ratchet.registry.attempt import attempt
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.version_description import describe_challenger
from ratchet.tracking import connect
from ratchet.tracking.lineage import PREFIX
from ratchet.tracking.markdown import run_note

if TYPE_CHECKING:
    from ratchet.model.package.sealed_package import Package
    from ratchet.registry.production_pointer import ProductionPointer
    from ratchet.registry.promotion_ledger import Entry
    from ratchet.settings import Settings

# The artifact of a run with the metrics and the lineage of its model, written before the decision.
MODEL_RECORD = "model_record.json"
# The gate's decision, on a run and on a version.
OUTCOME_TAG = f"{PREFIX}outcome"


@dataclass(frozen=True)
class Decided:
    """A decision, and what its follow-ups write.

    Attributes
    ----------
    run_id: the MLflow run that the gate's figures were logged to.
    decision: the fields of a ``Promotion``.
    package, record: the challenger's, and its metrics and lineage; None to download them.
    """

    settings: Settings
    model: str
    run_id: str
    decision: dict[str, Any]
    package: Package | None = None
    record: dict[str, Any] | None = None


def write_all(given: Decided, pointer: ProductionPointer, entry: Entry | None) -> tuple[str, ...]:
    """Write every follow-up, store the failures with the ledger's entry, and return them."""
    tried = {name: attempt(name, partial(write, given)) for name, write in FOLLOW_UPS.items()}
    failed = {name: found for name, found in tried.items() if found}
    if failed and entry is not None:
        pending = dict.fromkeys(failed, given.run_id)
        attempt("the warnings in the ledger", lambda: pointer.ledger.set_pending(entry, pending))
    return tuple(warning for found in failed.values() for warning in found)


def repeat(pointer: ProductionPointer, entry: Entry) -> None:
    """Write the failed follow-ups of an entry again.

    The files of a model are those of its newest decision: an older entry's are not written.
    """
    from ratchet.registry.promote_challenger import earlier_decision

    newest = pointer.ledger.history(1)[0]
    decision = earlier_decision(pointer, entry).model_dump(mode="json")
    left = {}
    for name, run_id in (entry.pending or {}).items():
        given = Decided(pointer.settings, pointer.model, run_id, decision)
        wanted = name in FOLLOW_UPS and (name != _FILES or entry.id == newest.id)
        if wanted and attempt(name, partial(FOLLOW_UPS[name], given)):
            left[name] = run_id
    pointer.ledger.set_pending(entry, left)


def _write_run(given: Decided) -> None:
    client = connect(given.settings)
    client.log_dict(given.run_id, given.decision, "gate.json")
    version, outcome = given.decision["version"], given.decision["outcome"]
    client.set_tag(given.run_id, f"{PREFIX}model_version", version)
    client.set_tag(given.run_id, OUTCOME_TAG, outcome)
    text = describe_challenger(given.model, given.decision, given.record or _logged_record(given))
    client.log_batch(given.run_id, tags=[run_note(text)])
    if outcome != "unchanged":  # then the decision of an earlier run holds
        client.set_model_version_tag(given.model, version, OUTCOME_TAG, outcome)
        client.update_model_version(given.model, version, text)


def _write_files(given: Decided) -> None:
    """Write ``model.joblib``, ``schema.json`` and ``metrics.json`` in ``models/``."""
    from ratchet.model.package.model_files import export_model
    from ratchet.registry.production_pointer import ProductionPointer

    version = given.decision["version"]
    pointer = ProductionPointer(given.settings, given.model)
    package = given.package or fetch_package(given.settings, pointer.get(version))
    record = {
        "model": given.model,
        **{name: given.decision[name] for name in ("version", "stage", "outcome")},
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        **(given.record or _logged_record(given)),
    }
    export_model(given.settings.models_dir / given.model, package.model, package.schema, record)


def _logged_record(given: Decided) -> dict[str, Any]:
    import mlflow

    uri = connect(given.settings).get_run(given.run_id).info.artifact_uri
    record: dict[str, Any] = mlflow.artifacts.load_dict(f"{uri}/{MODEL_RECORD}")
    return record


_FILES = "the files in models/"
FOLLOW_UPS: dict[str, Callable[[Decided], None]] = {"the record in MLflow": _write_run, _FILES: _write_files}
