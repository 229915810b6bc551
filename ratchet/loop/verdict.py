"""The verdict on a model in Production: whether something is wrong, and what to do about it."""

from __future__ import annotations

from typing import Any

from ratchet.loop.heartbeat import last_beat
from ratchet.registry.production_pointer import ProductionPointer

# A watcher is dead if it did not check for this many intervals, and for this many seconds, as in the alert rules.
_MISSED, _SLACK = 10, 300.0
_WATCH = "python run.py watch --config FILE"


def verdict(pointer: ProductionPointer, version: str | None, loop: dict[str, Any]) -> dict[str, Any]:
    """Return ``healthy``, the ``problems``, each with what to do, and ``notes`` on what is not known.

    Parameters
    ----------
    version: the version in Production.
    loop: the status of continuous training, as ``ratchet.loop.production_status`` returns it.

    Raises
    ------
    RegistryError, StateError: MLflow or the store cannot be read.
    """
    watcher, notes = _watcher(pointer)
    found = (*_pointer(pointer, version), *watcher, *_newest_run(loop), *_windows(pointer.model, version, loop))
    return {"healthy": not found, "problems": list(found), "notes": list(notes)}


def _pointer(pointer: ProductionPointer, version: str | None) -> list[str]:
    if version is None:
        promote = f"python run.py promote VERSION --model {pointer.model}"
        return [f"nothing is in Production: train a model, or promote a version with {promote}"]
    ledger = pointer.ledger
    agree = pointer.with_alias() == [version] == ledger.promoted_versions()[-1:]
    if agree and not ledger.unfinished() and not ledger.with_pending():
        return []
    return [f"MLflow and the ledger do not agree: python run.py doctor --model {pointer.model} explains it"]


def _watcher(pointer: ProductionPointer) -> tuple[list[str], list[str]]:
    """Return the problem with the watcher, and what is not known without one."""
    beat = last_beat(pointer.store, pointer.model)
    if beat is None:
        return [], [f"no watcher has looked yet: start one with {_WATCH}"]
    with pointer.store.reading() as connection:
        silent = pointer.store.now(connection) - beat.at
    if beat.interval == 0 or silent <= max(_MISSED * beat.interval, _SLACK):
        return [], []
    return [f"the watcher has not looked for {_duration(silent)}: start it again with {_WATCH}"], []


def _newest_run(loop: dict[str, Any]) -> list[str]:
    run = loop["run"]
    if run is None or run["state"] != "failed":
        return []
    return [f"training run {run['id']} failed ({run['outcome']}): fix the cause, and run its config again"]


def _windows(model: str, version: str | None, loop: dict[str, Any]) -> list[str]:
    quality, drift, labels = loop["quality"], loop["drift"], loop["labels"]
    found = []
    if quality and quality["version"] == version and quality["dropped"]:
        found.append(
            f"{quality['metric']} fell to {quality['value']:.4g} on {quality['rows']} labels: train again, or return to"
            f" the version before with python run.py rollback --model {model}"
        )
    if drift and drift["version"] == version and drift["detected"]:
        found.append(
            f"{drift['share']:.0%} of the columns drift in {drift['rows']} rows:"
            f" python run.py report --model {model} shows which"
        )
    if labels and labels["biased"]:
        found.append(f"the labels are biased ({labels['reason']}): label an audit sample")
    return found


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
