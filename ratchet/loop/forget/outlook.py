"""What an erasure does not change: the versions that were trained on the rows, and the places out of reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.data.snapshots import remaining_version
from ratchet.loop.machines import register
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings


@dataclass(frozen=True)
class Outlook:
    """What is left to do.

    Attributes
    ----------
    trained: the versions that were fitted on some of the rows.
    in_production: the one of them that is in Production.
    retrain: the commands that replace it: training, and the promotion of the new version where the gate refuses it.
    not_reached: the places whose rows an operator has to remove, one line each.
    """

    trained: tuple[str, ...]
    in_production: str | None
    retrain: tuple[str, ...]
    not_reached: tuple[str, ...]


def outlook(
    settings: Settings,
    pointer: ProductionPointer,
    trained: Sequence[str],
    unknown: Sequence[str] = (),
    notes: Sequence[str] = (),
    erasure: int | None = None,
) -> Outlook:
    """Return what is left to do.

    Parameters
    ----------
    trained: the versions that were fitted on some of the rows.
    unknown: those of which it is not known.
    notes: what the places did not reach.
    erasure: its number; None for a dry run.

    Raises
    ------
    RegistryError: MLflow is unreachable.
    """
    current = pointer.current()
    number = current.version if current is not None and current.version in trained else None
    retrain = _commands(settings, pointer.model, current.lineage.get("snapshot")) if current and number else ()
    out_of_reach = list(notes)
    if trained:
        out_of_reach.append(
            f"the models and packages of the versions {', '.join(trained)}, which are sealed and hold up to 508 of"
            " their training rows: delete them once another version is in Production"
        )
    if unknown:
        out_of_reach.append(f"the versions {', '.join(unknown)}, whose training rows are not known")
    return Outlook(tuple(trained), number, retrain, (*out_of_reach, *_elsewhere(settings, erasure)))


def _commands(settings: Settings, model: str, snapshot: str | None) -> tuple[str, ...]:
    rows = f" --snapshot {remaining_version(settings, snapshot)}" if snapshot else ""
    return (
        f"python run.py --config FILE --set model={model}{rows}",
        f'python run.py promote VERSION --model {model} --reason "rows were forgotten"',
    )


def _elsewhere(settings: Settings, erasure: int | None) -> list[str]:
    """Return the places that no erasure reaches."""
    lines = [
        "backups (deploy/backup, and those of PostgreSQL, buckets and disks): erase again after a restore",
        "log files of the service, if RATCHET_LOG_FEATURES is or was set",
        "data sets that you train on, and copies that you or other programs made of rows",
        "figures over many rows (drift, ranges, histograms), and hashes of rows, which stay",
    ]
    if settings.database_url is None:
        return lines
    if not settings.database_url.startswith("sqlite"):
        lines.append("PostgreSQL's write-ahead log and its archive, until the server recycles them")
    others = register(settings)[1:]
    number = "N" if erasure is None else erasure
    return [*lines, *(f"the home {home.name}: run python run.py forget --repeat {number} there" for home in others)]
