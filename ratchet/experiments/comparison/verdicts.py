"""The gate's decision on each run, and the version in Production."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ratchet.experiments.comparison.runs import FinishedRun
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.registry.promotion_ledger import Entry


@dataclass(frozen=True)
class Verdict:
    """The state of a run's version.

    Attributes
    ----------
    short: ``in Production``, ``promoted earlier``, or ``refused: against_champion``.
    why: the ledger's reason; empty without one.
    in_production: whether it is in Production now.
    """

    short: str
    why: str = ""
    in_production: bool = False


def verdicts_of(pointer: ProductionPointer, champion: str | None, runs: Iterable[FinishedRun]) -> list[Verdict]:
    """Return the verdict of each run: the ledger's newest entry for its version.

    Raises
    ------
    StateError: the store cannot be read.
    """
    newest: dict[str, Entry] = {}
    for entry in pointer.ledger.history():
        if entry.state in ("completed", "refused"):
            newest.setdefault(entry.to_version, entry)
    return [_verdict(run, champion, newest.get(run.version or "")) for run in runs]


def _verdict(run: FinishedRun, champion: str | None, entry: Entry | None) -> Verdict:
    why = entry.reason if entry else ""
    if run.version is not None and run.version == champion:
        return Verdict("in Production", why, in_production=True)
    if entry is None:
        return Verdict(run.tags["ratchet.outcome"])
    if entry.state == "completed":
        return Verdict("promoted earlier", why)
    failed = [str(check["name"]) for check in entry.gate or () if not check["passed"]]
    return Verdict(f"refused: {', '.join(failed)}" if failed else "refused", why)
