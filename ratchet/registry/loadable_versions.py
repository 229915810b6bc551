"""The versions that Production can go back to: which they are, and which of them load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ratchet.errors import PackageError, RatchetError

if TYPE_CHECKING:
    from ratchet.registry.production_pointer import ProductionPointer

# Versions that are tried; each one is downloaded and verified.
_MOST_TRIED = 20


def earlier_versions(pointer: ProductionPointer, found: str | None) -> list[str]:
    """Return the versions to go back to from the one in Production, the best choice first.

    These are the earlier ones of the ledger, newest first. Where nothing is in Production, as after a version was
    deleted in MLflow, the ledger's last one is among them, and the registered versions that were never promoted follow.
    """
    promoted = pointer.ledger.promoted_versions()
    choices = [version for version in reversed(promoted) if version != found]
    return list(dict.fromkeys(choices if found else [*choices, *pointer.versions()]))


def first_that_loads(pointer: ProductionPointer, versions: Sequence[str]) -> tuple[str, list[str]]:
    """Return the first version whose package loads, and for each one before it the reason why it does not.

    Raises
    ------
    PackageError: none loads.
    """
    skipped: list[str] = []
    for version in versions[:_MOST_TRIED]:
        reason = why_not(pointer, version)
        if reason is None:
            return version, skipped
        skipped.append(f"version {version}: {reason}")
    raise PackageError(f"{pointer.model}: no version loads; nothing was changed: {'; '.join(skipped)}")


def why_not(pointer: ProductionPointer, version: str) -> str | None:
    """Return why a version cannot go into Production; None if it is registered and its package loads."""
    try:
        pointer.verify(version)
    except RatchetError as error:
        return str(error)
    return None


def choices_in_words(pointer: ProductionPointer, versions: Sequence[str]) -> str:
    """Return which versions can be promoted and which cannot, with the reasons."""
    found = {version: why_not(pointer, version) for version in versions[:_MOST_TRIED]}
    good = ", ".join(version for version, reason in found.items() if reason is None) or "none"
    bad = [f"version {version} cannot: {reason}" for version, reason in found.items() if reason is not None]
    return "; ".join([f"versions that can be promoted: {good}", *bad])
