"""The command that removes the features of a person's predictions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.options import AsJson, Model

if TYPE_CHECKING:
    from ratchet.loop.forget.erase import Forgetting, Found
    from ratchet.loop.forget.selection import Selection
    from ratchet.registry.production_pointer import ProductionPointer
    from ratchet.settings import Settings
    from ratchet.store.erasures import Erasure


def forget(
    model: Model = None,
    prediction: Annotated[
        list[str] | None, typer.Option("--prediction", metavar="ID", help="A prediction's id; may be repeated.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="COLUMN=VALUE", help="A feature's value; of several, a row has to have all."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be removed; remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    history: Annotated[bool, typer.Option("--history", help="List the erasures, newest first.")] = False,
    repeat: Annotated[
        int | None, typer.Option("--repeat", metavar="N", help="Apply an erasure of the ledger to this home, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove the features of a person's predictions everywhere, and name the versions that were trained on them."""
    from commands.console.forget import print_history
    from commands.console.formats import print_json

    _require_one_selection(prediction, where, history=history, repeat=repeat)
    if dry_run and repeat is not None:
        raise typer.BadParameter("--repeat has no dry run", param_hint="--dry-run")
    settings, pointer, forgetting = _open(model)
    if history:
        entries = forgetting.ledger.history()
        print_json([asdict(entry) for entry in entries]) if as_json else print_history(entries)
        return
    if not dry_run:
        _resume(settings, pointer, forgetting)
    if repeat is not None:
        with forgetting.exclusive():
            erasure, notes = forgetting.erase(_entry(forgetting, repeat))
    else:
        wanted = _selection(settings, pointer, prediction, where)
        with forgetting.exclusive():
            found = forgetting.find(wanted)
        _require_known(forgetting, wanted, found)
        if dry_run or not found.ids or not as_json:
            _print_plan(settings, pointer, found, as_json=as_json)
        if dry_run or not found.ids:
            return
        _confirm(len(found.ids), yes=yes)
        with forgetting.exclusive():
            erasure, notes = forgetting.forget(found, wanted, settings.actor)
    _print_done(settings, pointer, erasure, notes, as_json=as_json)


def _require_one_selection(
    prediction: Sequence[str] | None, where: Sequence[str] | None, *, history: bool, repeat: int | None
) -> None:
    given = [bool(prediction), bool(where), history, repeat is not None]
    if sum(given) != 1:
        raise typer.BadParameter("give one of --prediction, --where, --repeat and --history")


def _open(model: str | None) -> tuple[Settings, ProductionPointer, Forgetting]:
    from pipelines.forgotten_artifacts import PipelineArtifacts
    from pipelines.operations import open_pointer
    from pipelines.progress import silence_libraries
    from ratchet.loop.forget.erase import Forgetting
    from ratchet.settings import load_settings, quiet_environment

    quiet_environment()
    silence_libraries()
    settings = load_settings()
    pointer = open_pointer(settings, model, mirrored=False)
    versions = [pointer.get(number) for number in pointer.versions()]
    others = [PipelineArtifacts(settings)]
    return settings, pointer, Forgetting(settings, pointer.store, pointer.model, versions, others)


def _resume(settings: Settings, pointer: ProductionPointer, forgetting: Forgetting) -> None:
    """Continue what was interrupted."""
    with forgetting.exclusive():
        resumed = forgetting.resume()
    for erasure, _ in resumed:
        print(f"{pointer.model}: the erasure {erasure.id}, which was interrupted, is completed", file=sys.stderr)


def _entry(forgetting: Forgetting, number: int) -> Erasure:
    from ratchet.errors import ConfigError
    from ratchet.nearest_names import nearest

    try:
        return forgetting.ledger.get(number)
    except LookupError:
        known = nearest(str(number), (str(entry.id) for entry in forgetting.ledger.history()))
        raise ConfigError(f"--repeat: there is no erasure {number}{known}") from None


def _selection(
    settings: Settings, pointer: ProductionPointer, prediction: Sequence[str] | None, where: Sequence[str] | None
) -> Selection:
    from ratchet.loop.forget.selection import Selection, selected_by_values

    if prediction:
        return Selection(ids=frozenset(prediction))
    versions = [pointer.get(number) for number in pointer.versions()]
    return selected_by_values(settings, versions, where or ())


def _require_known(forgetting: Forgetting, wanted: Selection, found: Found) -> None:
    """Raise a ConfigError for ids that are in no place and were never forgotten."""
    from ratchet.errors import ConfigError

    missing = sorted((wanted.ids or frozenset()) - set(found.ids))
    unknown = [prediction_id for prediction_id in missing if forgetting.ledger.of_prediction(prediction_id) is None]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise ConfigError(
            f"--prediction: there is no prediction {unknown[0]!r} of this model{more}; nothing was removed"
        )


def _confirm(count: int, *, yes: bool) -> None:
    from ratchet.errors import ConfigError

    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("this is not a terminal: confirm the removal with --yes, or look at it with --dry-run")
    typer.confirm(f"Remove the features of {count} predictions? This cannot be undone", abort=True)


def _print_plan(settings: Settings, pointer: ProductionPointer, found: Found, *, as_json: bool) -> None:
    from commands.console.forget import print_found
    from commands.console.formats import print_json
    from ratchet.loop.forget.outlook import outlook

    left = outlook(settings, pointer, found.trained, found.unknown)
    if as_json:
        print_json({"predictions": len(found.ids), "places": found.places} | asdict(left))
    else:
        print_found(pointer.model, found, left)


def _print_done(
    settings: Settings, pointer: ProductionPointer, erasure: Erasure, notes: list[str], *, as_json: bool
) -> None:
    from commands.console.forget import print_done
    from commands.console.formats import print_json
    from ratchet.loop.forget.outlook import outlook

    left = outlook(settings, pointer, erasure.versions, notes=notes, erasure=erasure.id)
    print_json(_plain(erasure) | asdict(left)) if as_json else print_done(erasure, left)


def _plain(erasure: Erasure) -> dict[str, Any]:
    return {"erasure": erasure.id, "predictions": erasure.n_predictions, "places": erasure.places}
