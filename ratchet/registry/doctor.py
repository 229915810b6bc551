"""Diagnosis and repair of the production pointer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ratchet.errors import PackageError, RegistryError, one_line
from ratchet.registry import follow_ups
from ratchet.registry.loadable_versions import choices_in_words, earlier_versions, first_that_loads, why_not
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.registry.promotion_ledger import Entry
from ratchet.store import leases
from ratchet.store.clock import clock_difference, rows_from_the_future


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes
    ----------
    code: short and stable, for programs.
    explanation: the fault and its cause.
    repair: what ``doctor --repair`` does about it; empty where a user has to decide.
    is_note: whether nothing is wrong now; it does not change the exit status.
    """

    code: str
    explanation: str
    repair: str
    is_note: bool = False


@dataclass(frozen=True)
class _State:
    """What MLflow and the ledger hold: stage, alias, versions of the ledger with the newest last, open intents.

    Attributes
    ----------
    last: the ledger's newest completed entry.
    """

    production: list[str]
    alias: list[str]
    promoted: list[str]
    unfinished: Sequence[Entry]
    last: Entry | None

    @property
    def ledger_version(self) -> str | None:
        return self.promoted[-1] if self.promoted else None


def examine(pointer: ProductionPointer) -> list[Finding]:
    """Compare stage, alias, mirrors, ledger and lease, and verify the package in Production; change nothing.

    Raises
    ------
    RegistryError, StateError: MLflow or the store cannot be read.
    """
    state = _read_state(pointer)
    found = [*_unfinished(state), *_stage_faults(pointer, state)]
    found += _failed_follow_ups(pointer)
    found += _clock_faults(pointer)
    holder = leases.expired(pointer.store, pointer.lease_name)
    if holder:
        found.append(
            Finding(
                "lease_left",
                f"{holder} holds the lease and did not release it: its process has ended or does not respond",
                "take it over",
            )
        )
    return found


def repair(pointer: ProductionPointer, actor: str) -> tuple[list[Finding], list[Finding]]:
    """Repair what can be repaired, under the lease, and record it in the ledger.

    Returns
    -------
    The findings before the repair, and those after it.

    Raises
    ------
    RegistryError: several versions are in Production, and neither ledger nor alias names one of them.
    StateError: another process is changing the pointer.
    """
    found = examine(pointer)
    with leases.held(pointer.store, pointer.lease_name) as lease, leases.fenced(pointer.store, lease):
        for entry in pointer.ledger.unfinished():
            pointer.settle(entry)
        state = _read_state(pointer)
        version = _decide(pointer, state)
        if version is not None:
            if state.production != [version] or any(_mirror_faults(pointer, state, version)):
                pointer.move_to(version)
            if state.ledger_version != version or _was_moved(state, version):
                pointer.ledger.record(
                    "repair",
                    "completed",
                    pointer.get(version),
                    before=state.ledger_version,
                    reason="doctor --repair: " + "; ".join(finding.code for finding in found),
                    actor=actor,
                    token=lease.token,
                )
    for entry in pointer.ledger.with_pending():
        follow_ups.repeat(pointer, entry)
    return found, examine(pointer)


def _read_state(pointer: ProductionPointer) -> _State:
    ledger = pointer.ledger
    return _State(
        pointer.in_production(),
        pointer.with_alias(),
        ledger.promoted_versions(),
        ledger.unfinished(),
        ledger.last_completed(),
    )


def _unfinished(state: _State) -> Iterator[Finding]:
    for entry in state.unfinished:
        effect = "took effect" if state.production == [entry.to_version] else "did not take effect"
        change = f"a {entry.kind} of version {entry.from_version or 'none'} to {entry.to_version}"
        yield Finding(
            "unfinished",
            f"{change} was interrupted, or is under way ({entry.when}, by {entry.actor}); it {effect}",
            "record the outcome in the ledger and update the mirrors",
        )


def _failed_follow_ups(pointer: ProductionPointer) -> Iterator[Finding]:
    for entry in pointer.ledger.with_pending():
        for name in entry.pending or ():
            explanation = (
                f"{name} of version {entry.to_version} was not written after the gate's decision ({entry.when})"
            )
            yield Finding("follow_up_failed", explanation, "write it again")


def _clock_faults(pointer: ProductionPointer) -> Iterator[Finding]:
    difference = clock_difference(pointer.store)
    if difference is not None:
        side = "ahead of" if difference > 0 else "behind"
        explanation = f"the clock of this machine is {abs(difference):.0f} s {side} that of the store: set it right"
        yield Finding("clock_off", explanation, "")
    rows = rows_from_the_future(pointer.store)
    if rows:
        yield Finding(
            "rows_from_the_future",
            f"the store has {', '.join(rows)}, which is in the future: a clock was ahead when they were written, or is"
            " behind now; check the clocks of all machines; these times are void wherever they are compared",
            "",
            is_note=True,
        )


def _stage_faults(pointer: ProductionPointer, state: _State) -> Iterator[Finding]:
    if len(state.production) == 1:
        yield from _version_faults(pointer, state, state.production[0])
    elif state.production:
        yield Finding(
            "many_in_production",
            f"versions {', '.join(state.production)} are all in Production: a stage was changed outside Ratchet",
            "keep the version that the ledger or the alias names, and archive the others",
        )
    elif state.promoted:
        restored, choices = _newest_loadable(pointer, state.promoted), earlier_versions(pointer, None)
        yield Finding(
            "none_in_production",
            f"nothing is in Production, the ledger has version {state.ledger_version}: the stage was changed, or the"
            f" version deleted, outside Ratchet; {choices_in_words(pointer, choices)}; python run.py rollback takes the"
            " first of these, python run.py promote another one",
            f"put version {restored} back" if restored else "",
        )
    elif state.alias:
        yield Finding(
            "shadow_differs",
            f"no version was ever promoted, but the alias names version {state.alias[0]}: it was set outside Ratchet",
            "",
        )


def _version_faults(pointer: ProductionPointer, state: _State, version: str) -> Iterator[Finding]:
    yield from _mirror_faults(pointer, state, version)
    is_unfinished = any(entry.to_version == version for entry in state.unfinished)
    if not is_unfinished and state.ledger_version != version:
        yield Finding(
            "moved_by_hand",
            f"version {version} is in Production, the ledger has {state.ledger_version or 'none'}: the stage was"
            " changed outside Ratchet",
            f"accept version {version} and record it",
        )
    elif _was_moved(state, version):
        yield Finding(
            "moved_outside",
            f"version {version} was moved into Production outside Ratchet ({state.last and state.last.when}): the gate"
            " did not check it",
            f"accept version {version}; to return to the version before, run python run.py rollback instead",
        )
    broken = why_not(pointer, version)
    if broken:
        yield Finding("package_broken", f"version {version} is in Production, but {broken}", "")


def _was_moved(state: _State, version: str) -> bool:
    return state.last is not None and (state.last.kind, state.last.to_version) == ("moved", version)


def _mirror_faults(pointer: ProductionPointer, state: _State, version: str) -> Iterator[Finding]:
    if state.alias != [version]:
        yield Finding(
            "shadow_differs",
            f"version {version} is in Production, the alias names {', '.join(state.alias) or 'none'}",
            f"set the alias to version {version}",
        )
    for mirror in pointer.mirrors:
        try:
            shown = mirror.read(pointer.model)
        except Exception as error:  # an unreachable mirror must not prevent the other repairs
            yield Finding("mirror_unreachable", f"{mirror.name} cannot be read: {one_line(error)}", "")
            continue
        if shown != version:
            yield Finding(
                "mirror_differs",
                f"{mirror.name} shows version {shown or 'none'}, but version {version} is in Production",
                f"set {mirror.name} to version {version}",
                is_note=mirror.of_one_home,
            )


def _newest_loadable(pointer: ProductionPointer, promoted: list[str]) -> str | None:
    try:
        return first_that_loads(pointer, list(dict.fromkeys(reversed(promoted))))[0]
    except PackageError:
        return None


def _decide(pointer: ProductionPointer, state: _State) -> str | None:
    """Return the version that belongs in Production: the current one, else the ledger's, or of several the alias's."""
    if len(state.production) == 1:
        return state.production[0]
    if not state.production:
        return _newest_loadable(pointer, state.promoted)
    for candidate in (state.ledger_version, *state.alias):
        if candidate in state.production:
            return candidate
    raise RegistryError(
        f"{pointer.model}: versions {', '.join(state.production)} are all in Production, and neither ledger nor alias"
        " names one of them: archive all but the right one in MLflow, then run doctor --repair"
    )
