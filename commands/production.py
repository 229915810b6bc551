"""The commands on the version in Production: change, inspect, repair, trace and reproduce it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from commands import ROOT
from commands.options import AsJson, Model

if TYPE_CHECKING:
    from ratchet.registry.production_pointer import ProductionPointer
    from ratchet.registry.promotion_ledger import Entry
    from ratchet.settings import Settings

Reason = Annotated[str, typer.Option("--reason", "-r", help="The reason, stored in the ledger.")]
Operation = Annotated[str | None, typer.Option("--operation-id", help="Repeated with the same id, it is done once.")]


def promote(
    version: str,
    reason: Reason,
    model: Model = None,
    expected: Annotated[
        str | None, typer.Option(help="The version that has to be in Production now ('none' for none).")
    ] = None,
    operation_id: Operation = None,
    as_json: AsJson = False,
) -> None:
    """Put a version into Production by hand; its package is verified, the statistical gate is not run."""
    settings, pointer = _open(model)
    condition = {"expected": None if expected == "none" else expected} if expected is not None else {}
    entry = pointer.promote(version, reason, settings.actor, operation_id=operation_id, **condition)
    _require_newest(pointer, entry, operation_id)
    _print_change(entry, as_json)


def rollback(reason: Reason, model: Model = None, operation_id: Operation = None, as_json: AsJson = False) -> None:
    """Put the previous version back into Production."""
    settings, pointer = _open(model)
    entry = pointer.rollback(reason, settings.actor, operation_id=operation_id)
    _require_newest(pointer, entry, operation_id)
    _print_change(entry, as_json)


def history(
    model: Model = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of entries, newest first.")] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Print the whole reasons and the gate's checks.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the changes of Production: when, what, which version, who and why."""
    from commands.console.formats import print_json
    from commands.console.production import print_history
    from ratchet.loop import production_status

    _, pointer = _open(model, mirrored=False)
    entries = production_status.history(pointer, limit)
    print_json(entries) if as_json else print_history(entries, gate=gate)


def status(model: Model = None, as_json: AsJson = False) -> None:
    """Show the version in Production and its metrics, the state of the loop, and whether all is well."""
    from commands.console.formats import print_json
    from commands.console.production import print_status
    from ratchet.loop import production_status

    settings, pointer = _open(model, mirrored=False)
    found = production_status.status(settings, pointer)
    print_json(found) if as_json else print_status(found)


def doctor(
    model: Model = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    machines: Annotated[
        bool, typer.Option("--machines", help="Compare what all machines on this store have to share.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with Production, and repair it on request; status 1 where something remains wrong."""
    if machines:
        _compare_machines(as_json)
        return
    from dataclasses import asdict

    from commands.console.formats import print_json
    from commands.console.production import print_findings
    from ratchet.registry import doctor

    settings, pointer = _open(model)
    found, left = doctor.repair(pointer, settings.actor) if repair else (doctor.examine(pointer),) * 2
    print_json([asdict(f) for f in found]) if as_json else print_findings(found, left, repaired=repair)
    if any(not finding.is_note for finding in left):
        raise typer.Exit(1)


def _compare_machines(as_json: bool) -> None:
    """Print the machines on the store and what differs between them; status 1 where something does."""
    from dataclasses import asdict

    from commands.console.formats import print_json
    from commands.console.production import print_machines
    from ratchet.loop.machines import differences, register
    from ratchet.settings import load_settings

    found = register(load_settings())
    differing = differences(found)
    if as_json:
        print_json({"machines": [asdict(machine) for machine in found], "differences": differing})
    else:
        print_machines(found, differing)
    if differing:
        raise typer.Exit(1)


def lineage(
    version: Annotated[str, typer.Argument(metavar="ID", help="A version's number, or a prediction's id.")],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Show the origin of a version or a prediction: runs, commit, data, config and libraries."""
    from commands.console.formats import print_json
    from commands.console.production import print_lineage
    from ratchet.loop.version_lineage import prediction_lineage, version_lineage
    from ratchet.settings import load_settings
    from ratchet.store.prediction_batches import split_id

    settings = load_settings()
    has_id = len(version) == 36 or split_id(version) is not None
    is_prediction = has_id and (settings.database_url or settings.home.is_dir())
    place = None
    if is_prediction:
        from ratchet.loop.prediction_place import find_anywhere

        place = find_anywhere(settings, version)
    settings, pointer = _open(place.prediction["model"] if place else model, mirrored=False)
    found = prediction_lineage(settings, pointer, place) if place else version_lineage(settings, pointer, version)
    print_json(found) if as_json else print_lineage(found)


def reproduce(version: str, model: Model = None, as_json: AsJson = False) -> None:
    """Train a version again from its lineage and compare; status 1 where the result differs."""
    from commands.console.formats import print_json
    from commands.console.production import print_reproduction
    from ratchet.experiments.reproduction import reproduce as train_again

    settings, pointer = _open(model, mirrored=False)
    result = train_again(settings, pointer, version, ROOT)
    print_json(result.model_dump()) if as_json else print_reproduction(result)
    if not result.identical:
        raise typer.Exit(1)


def _open(model: str | None, *, mirrored: bool = True) -> tuple[Settings, ProductionPointer]:
    """Return the settings and the pointer, with the libraries' log output reduced."""
    from pipelines.operations import open_pointer
    from pipelines.progress import silence_libraries
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    silence_libraries()
    settings = load_settings()
    return settings, open_pointer(settings, model, mirrored=mirrored)


def _require_newest(pointer: ProductionPointer, entry: Entry, operation_id: str | None) -> None:
    """Raise a RegistryError where the operation was done before, and its version has been replaced since."""
    from ratchet.errors import RegistryError

    newest = pointer.ledger.last_completed()
    if operation_id is not None and newest is not None and newest.id != entry.id:
        raise RegistryError(
            f"{entry.model}: the operation {operation_id!r} was done before, and since then version {newest.to_version}"
            " went into Production: nothing was changed; to do it again, give another id"
        )


def _print_change(entry: Entry, as_json: bool) -> None:
    from dataclasses import asdict

    from commands.console.formats import print_json

    if as_json:
        print_json(asdict(entry))
    else:
        before = entry.from_version or "none"
        print(f"{entry.model}: version {entry.to_version} went into Production; before, it was {before}")
        for reason in entry.skipped:
            print(f"skipped {reason}")
    for warning in entry.warnings:
        print(f"warning: {warning}; write it with python run.py doctor --repair --model {entry.model}", file=sys.stderr)
