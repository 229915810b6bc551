"""What is wrong with the production pointer, in words, and how it is mended."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from ratchet.errors import RatchetError, RegistryError, one_line
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.store import leases


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes
    ----------
    code: short and stable, for programs.
    explanation: what was found and how it came about.
    repair: what ``doctor --repair`` does about it; empty where a person has to decide.
    """

    code: str
    explanation: str
    repair: str


def examine(pointer: ProductionPointer) -> list[Finding]:
    """Compare truth, mirrors, ledger and lease with each other; changes nothing.

    Raises
    ------
    RegistryError, StateError: MLflow or the store cannot be read.
    """
    return list(_findings(pointer))


def repair(pointer: ProductionPointer, actor: str) -> tuple[list[Finding], list[Finding]]:
    """Mend all that can be mended, under the lease, and write down what was decided.

    Parameters
    ----------
    pointer: what to mend.
    actor: who asked for it; kept in the ledger.

    Returns
    -------
    What was found before, and what is left after.

    Raises
    ------
    RegistryError: several versions are in Production and nothing says which was meant.
    StateError: another process is changing the pointer right now.
    """
    found = examine(pointer)
    with leases.held(pointer.store, pointer.lease_name) as lease, pointer.writing(lease):
        for entry in pointer.ledger.unfinished():
            pointer.settle(entry)
        version = _decide(pointer)
        if version is not None:
            if pointer.truth() != [version] or any(_disagreements(pointer, version)):
                pointer.point(version)
            _record(pointer, version, actor, found, lease.token)
    return found, examine(pointer)


def _findings(pointer: ProductionPointer) -> Iterator[Finding]:
    truth, teeth = pointer.truth(), pointer.ledger.teeth()
    for entry in pointer.ledger.unfinished():
        became = "took effect" if truth == [entry.to_version] else "did not take effect"
        move = f"a {entry.kind} of version {entry.from_version or 'none'} to {entry.to_version}"
        yield Finding(
            "unfinished",
            f"{move} was interrupted, or is under way ({entry.when}, by {entry.actor}); it {became}",
            "write down in the ledger what became of it, and bring the mirrors in line",
        )
    if len(truth) > 1:
        yield Finding(
            "many_in_production",
            f"versions {', '.join(truth)} are all in Production: something beside Ratchet moved a stage",
            "the one that the ledger or the alias names stays, the others go",
        )
    if not truth and teeth:
        back = _newest_that_exists(pointer, teeth)
        yield Finding(
            "none_in_production",
            f"nothing is in Production, the ledger says version {teeth[-1]}: something beside Ratchet took it out",
            f"put version {back} back" if back else "",
        )
    if not truth and not teeth and pointer.shadow():
        yield Finding(
            "shadow_differs",
            f"nothing was ever promoted, but stage or alias names version {', '.join(pointer.shadow())}:"
            " something beside Ratchet set it",
            "",
        )
    if len(truth) == 1:
        yield from _compare(pointer, truth[0], teeth)
    holder = leases.expired(pointer.store, pointer.lease_name)
    if holder:
        yield Finding("lease_left", f"{holder} took the lease and never gave it back: it died or hangs", "take it over")


def _compare(pointer: ProductionPointer, version: str, teeth: list[str]) -> Iterator[Finding]:
    yield from _disagreements(pointer, version)
    open_still = any(entry.to_version == version for entry in pointer.ledger.unfinished())
    if not open_still and (not teeth or teeth[-1] != version):
        yield Finding(
            "moved_by_hand",
            f"version {version} is in Production, the ledger says {teeth[-1] if teeth else 'none'}:"
            " something beside Ratchet moved it",
            f"accept version {version} and write it down",
        )
    try:
        pointer.verify(version)
    except RatchetError as error:
        yield Finding("package_broken", f"version {version} is in Production, but {error}", "")


def _disagreements(pointer: ProductionPointer, version: str) -> Iterator[Finding]:
    """Where something shows another version than the one that is in Production."""
    shadow = pointer.shadow()
    if shadow != [version]:
        yield Finding(
            "shadow_differs",
            f"version {version} is in Production, stage and alias do not agree: the other one says"
            f" {', '.join(shadow) or 'none'}",
            f"set both to version {version}",
        )
    for mirror in pointer.mirrors:
        try:
            shown = mirror.read(pointer.model)
        except Exception as error:  # a display that cannot be asked must not keep the rest from being mended
            yield Finding("mirror_unreachable", f"{mirror.name} cannot be asked: {one_line(error)}", "")
            continue
        if shown != version:
            yield Finding(
                "mirror_differs",
                f"{mirror.name} shows version {shown or 'none'}, in Production is {version}",
                f"have it show version {version}",
            )


def _newest_that_exists(pointer: ProductionPointer, teeth: list[str]) -> str | None:
    """The newest of the ledger's versions that was not deleted from MLflow."""
    known = set(pointer.versions())
    return next((version for version in reversed(teeth) if version in known), None)


def _decide(pointer: ProductionPointer) -> str | None:
    """The version that should be in Production: the one that is; else the ledger's; among several, the shadow's."""
    truth, teeth = pointer.truth(), pointer.ledger.teeth()
    if len(truth) == 1:
        return truth[0]
    if not truth:
        return _newest_that_exists(pointer, teeth)
    for candidate in (*teeth[-1:], *pointer.shadow()):
        if candidate in truth:
            return candidate
    raise RegistryError(
        f"{pointer.model}: versions {', '.join(truth)} are all in Production and nothing says which was meant:"
        " take all but the right one out in MLflow, then run doctor --repair"
    )


def _record(pointer: ProductionPointer, version: str, actor: str, found: list[Finding], token: int) -> None:
    """Write a repair into the ledger where it changed what the ledger says."""
    teeth = pointer.ledger.teeth()
    if teeth and teeth[-1] == version:
        return
    pointer.ledger.record(
        "completed",
        operation_id=uuid.uuid4().hex,
        kind="repair",
        from_version=teeth[-1] if teeth else None,
        to_version=version,
        reason="doctor --repair: " + "; ".join(finding.code for finding in found),
        actor=actor,
        token=token,
        **pointer.lineage(version),
    )
