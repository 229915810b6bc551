"""What is in Production: change it, look at it, explain it, train it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from commands import ROOT
from commands.options import AsJson, Model

if TYPE_CHECKING:
    from ratchet.registry.production_pointer import ProductionPointer
    from ratchet.registry.promotion_ledger import Entry
    from ratchet.settings import Settings

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the ledger.")]
Operation = Annotated[str | None, typer.Option("--operation-id", help="Repeat with the same id and it is done once.")]


def promote(
    version: str,
    reason: Reason,
    model: Model = None,
    expected: Annotated[
        str | None, typer.Option(help="The version you believe to be in Production ('none' for none).")
    ] = None,
    operation_id: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Put a version into Production by hand; its package is verified, the statistical gate is yours to answer for."""
    settings, pointer = _open(model)
    believed = {"expected": None if expected == "none" else expected} if expected is not None else {}
    entry = pointer.promote(version, reason, settings.actor, operation_id=operation_id, **believed)
    _require_newest(pointer, entry, operation_id)
    _tell_change(entry, as_json)


def rollback(reason: Reason, model: Model = None, operation_id: Operation = None, as_json: AsJson = False) -> None:
    """Put the version back that was in Production before."""
    settings, pointer = _open(model)
    entry = pointer.rollback(reason, settings.actor, operation_id=operation_id)
    _require_newest(pointer, entry, operation_id)
    _tell_change(entry, as_json)


def history(
    model: Model = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was done to Production: when, from, to, who, why, and the gate's figures."""
    from commands.console import runs
    from ratchet.loop import production_status

    _, pointer = _open(model, mirrored=False)
    entries = production_status.history(pointer, limit)
    runs.print_json(entries) if as_json else runs.print_history(entries)


def status(model: Model = None, as_json: AsJson = False) -> None:
    """Say what is in Production, since when, how good it is, and what it was trained on."""
    from commands.console import runs
    from ratchet.loop import production_status

    settings, pointer = _open(model, mirrored=False)
    found = production_status.status(settings, pointer)
    runs.print_json(found) if as_json else runs.print_fields(found)


def doctor(
    model: Model = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Explain what is wrong with Production, and mend it on request; status 1 where something is left wrong."""
    from dataclasses import asdict

    from commands.console import runs
    from ratchet.registry.doctor import examine
    from ratchet.registry.doctor import repair as mend

    settings, pointer = _open(model)
    found, left = mend(pointer, settings.actor) if repair else (examine(pointer),) * 2
    runs.print_json([asdict(f) for f in found]) if as_json else runs.print_findings(found, left, repaired=repair)
    if left:
        raise typer.Exit(1)


def lineage(
    version: Annotated[str, typer.Argument(metavar="ID", help="A version's number, or a prediction's id.")],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Go from a version or a prediction back to everything that made it."""
    from commands.console import runs
    from ratchet.loop.version_lineage import prediction_lineage, version_lineage
    from ratchet.settings import load_settings
    from ratchet.store.database import open_store
    from ratchet.store.predictions import find_prediction

    prediction = find_prediction(open_store(load_settings()), version) if len(version) == 36 else None
    settings, pointer = _open(prediction["model"] if prediction else model, mirrored=False)
    if prediction:
        found = prediction_lineage(settings, pointer, prediction)
    else:
        found = version_lineage(settings, pointer, version)
    runs.print_json(found) if as_json else runs.print_fields(found)


def reproduce(version: str, model: Model = None, as_json: AsJson = False) -> None:
    """Train a version again from its lineage and compare; status 1 where it came out differently."""
    from commands.console import runs
    from ratchet.experiments.reproduction import reproduce as train_again

    settings, pointer = _open(model, mirrored=False)
    result = train_again(settings, pointer, version, ROOT)
    runs.print_json(result.model_dump()) if as_json else runs.print_reproduction(result)
    if not result.identical:
        raise typer.Exit(1)


def _open(model: str | None, *, mirrored: bool = True) -> tuple[Settings, ProductionPointer]:
    """The settings and the pointer that a command works on, with the libraries kept quiet."""
    from pipelines.operations import open_pointer
    from pipelines.progress import silence_libraries
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    silence_libraries()
    settings = load_settings()
    return settings, open_pointer(settings, model, mirrored=mirrored)


def _require_newest(pointer: ProductionPointer, entry: Entry, operation_id: str | None) -> None:
    """Refuse to tell of an operation that was done before, where its version has been replaced since."""
    from ratchet.errors import RegistryError

    newest = pointer.ledger.last_completed()
    if operation_id is not None and newest is not None and newest.id != entry.id:
        raise RegistryError(
            f"{entry.model}: the operation {operation_id!r} was done before, and since then version {newest.to_version}"
            " went into Production: nothing was changed; to do it again, give it an id of its own"
        )


def _tell_change(entry: Entry, as_json: bool) -> None:
    from dataclasses import asdict

    from commands.console.runs import print_json

    if as_json:
        print_json(asdict(entry))
    else:
        before = entry.from_version or "none"
        print(f"{entry.model}: version {entry.to_version} went into Production; before, it was {before}")
