"""The production pointer: the only code that changes which version of a model is in Production.

A change is made under a lease with a fencing token, compared with the version that the caller expects, and recorded
in the ledger before and after. MLflow changes the stage in one transaction, so that a reader finds the old version or
the new one, and never none or both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ratchet.errors import RegistryError, StateError, one_line
from ratchet.nearest_names import nearest
from ratchet.registry import stage_and_alias
from ratchet.registry.attempt import attempt
from ratchet.registry.loadable_versions import earlier_versions, first_that_loads
from ratchet.registry.model_version import Mirror, Version, from_mlflow
from ratchet.registry.promotion_ledger import Entry, Kind, Ledger
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.database import Store, open_store
from ratchet.store.failpoints import failpoint
from ratchet.tracking import connect, reachable
from ratchet.tracking.reader import Reader, open_reader

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

PRODUCTION = stage_and_alias.PRODUCTION
# The length of the ledger's column.
LONGEST_ID = 64
# The expected version of a promotion that replaces any version; None expects that nothing is in Production.
ANY = "*"


class ProductionPointer:
    """The version of a model in Production, and the operations that change it.

    Parameters
    ----------
    verify: checks that a version loads and reproduces its golden predictions; called before a change.
    lease_ttl: seconds after which the lease of a dead or hanging holder can be taken over.
    """

    def __init__(
        self,
        settings: Settings,
        model: str,
        verify: Callable[[Version], None] = lambda version: None,
        mirrors: Sequence[Mirror] = (),
        lease_ttl: float = leases.TTL,
    ) -> None:
        self.model = model
        self.mirrors = mirrors
        self.settings = settings
        self._verify = verify
        self._lease_ttl = lease_ttl

    @cached_property
    def _client(self) -> MlflowClient:
        """The client, which only changes need: reads do without MLflow's import."""
        return connect(self.settings)

    @cached_property
    def _reader(self) -> Reader:
        return open_reader(self.settings)

    @cached_property
    def store(self) -> Store:
        """Ratchet's store, opened at first use: a caller that only reads the pointer needs none."""
        return open_store(self.settings)

    @cached_property
    def ledger(self) -> Ledger:
        """The model's ledger."""
        return Ledger(self.store, self.model)

    @property
    def lease_name(self) -> str:
        """The name of the lease that changes are made under."""
        return f"production of {self.model}"

    def current(self) -> Version | None:
        """Return the version in Production, or None before the first promotion.

        Raises
        ------
        RegistryError: MLflow is unreachable, or more than one version is in Production.
        """
        found = self._current_number()
        return self.get(found) if found else None

    def require_current(self) -> Version:
        """Return the version in Production.

        Raises
        ------
        RegistryError: nothing is in Production, or as for ``current``.
        """
        found = self.current()
        if found is None:
            raise RegistryError(f"{self.model}: nothing is in Production yet: train it, or promote a version")
        return found

    def get(self, version: str) -> Version:
        """Return a registered version.

        Raises
        ------
        RegistryError: MLflow is unreachable, or the model has no such version.
        """
        found = self._reader.version(self.model, version)
        if found is None:
            raise RegistryError(f"{self.model} has no version {version!r}{nearest(version, self.versions())}")
        return from_mlflow(found)

    def versions(self) -> list[str]:
        """Return the numbers of all registered versions, newest first."""
        return [found.version for found in reversed(self._reader.versions(self.model))]

    def in_production(self) -> list[str]:
        """Return the versions in the stage Production, lowest first: one in a sound registry, none at first."""
        return [found.version for found in self._reader.versions(self.model) if found.current_stage == PRODUCTION]

    def with_alias(self) -> list[str]:
        """Return the version that has the alias champion, or an empty list."""
        found = self._reader.aliased(self.model, stage_and_alias.CHAMPION)
        return [] if found is None else [found]

    def verify(self, version: str) -> None:
        """Check that a version loads and reproduces its golden predictions.

        Raises
        ------
        PackageError: it does not.
        """
        self._verify(self.get(version))

    def promote(
        self,
        version: str,
        reason: str,
        actor: str,
        *,
        expected: str | None = ANY,
        operation_id: str | None = None,
        gate: list[dict[str, Any]] | None = None,
    ) -> Entry:
        """Move a version into Production and the current one out of it.

        Parameters
        ----------
        expected: the version that the caller expects in Production; None for none.
        operation_id: the same for every attempt at the same change; a completed change is not repeated.

        Raises
        ------
        RegistryError: Production holds another version than expected, or the version already; the version does not
            exist; or MLflow is unreachable.
        PackageError: the version does not load or does not reproduce its golden predictions.
        StateError: the lease is taken, or was lost; nothing changed.
        """
        _require_reason(reason)
        wanted = self.get(version)
        version = wanted.version
        with self._exclusive() as lease:
            found = self._current_number()
            done = self._completed(operation_id, "promote", version)
            if done:
                return done
            if found == version:
                raise RegistryError(f"{self.model} version {version} is in Production already")
            if expected not in (ANY, found):
                raise RegistryError(
                    f"{self.model}: expected version {expected or 'none'} in Production, found {found or 'none'};"
                    f" another process promoted a version meanwhile; see python run.py history, and repeat the command"
                    f" to compare with version {found or 'none'}"
                )
            self._verify(wanted)
            details = {"reason": reason, "actor": actor, "operation_id": operation_id, "gate": gate}
            return self._change(lease, "promote", found, wanted, **details)

    def rollback(self, reason: str, actor: str, *, operation_id: str | None = None) -> Entry:
        """Move the newest earlier version of the ledger that loads back into Production.

        Where nothing is in Production, as after its version was deleted in MLflow, any registered version that loads
        will do, the ledger's versions first.

        Raises
        ------
        RegistryError: there is no previous version, or the ledger and MLflow disagree.
        PackageError: no version loads and reproduces its golden predictions; nothing changed.
        StateError: as for ``promote``.
        """
        _require_reason(reason)
        with self._exclusive() as lease:
            done = self._completed(operation_id, "rollback")
            if done:
                return done
            found = self._current_number()
            version, skipped = first_that_loads(self, self._rollback_choices(found))
            noted = "; ".join([reason, *(f"skipped {why}" for why in skipped)])
            details = {"reason": noted, "actor": actor, "operation_id": operation_id}
            entry = self._change(lease, "rollback", found, self.get(version), **details)
            return replace(entry, skipped=tuple(skipped))

    def note_outside_move(self) -> Entry | None:
        """Record that a version was moved into Production outside Ratchet, as on MLflow's page, and return the entry.

        It is recorded once, and not undone: the stage is the truth, and the service follows it. The alias follows too.
        Without an earlier entry nothing is recorded: the version may have been promoted before there was a ledger.

        Raises
        ------
        RegistryError, StateError: MLflow or the store cannot be read, or another process is changing the pointer.
        """
        found, last = self._current_number(), self.ledger.last_completed()
        if found is None or last is None or found == last.to_version:
            return None
        with self._exclusive(wait=0.0) as lease, leases.fenced(self.store, lease):
            found, last = self._current_number(), self.ledger.last_completed()
            if found is None or last is None or found == last.to_version:
                return None  # another process has recorded it, or its own promotion had not ended
            entry = self.ledger.record(
                "moved",
                "completed",
                self.get(found),
                before=last.to_version,
                reason="the stage was changed outside Ratchet, as in MLflow; the gate did not check this version",
                actor="outside Ratchet",
                token=lease.token,
            )
            self._write_mirrors(found)
        return entry

    def refuse(
        self, version: str, reason: str, actor: str, gate: list[dict[str, Any]], *, operation_id: str | None = None
    ) -> Entry:
        """Record that the gate refused a version; Production does not change."""
        found = self._current_number()
        done = self.ledger.find(operation_id) if operation_id else None
        if done:
            return done
        challenger = self.get(version)
        return self.ledger.record(
            "promote",
            "refused",
            challenger,
            before=found,
            reason=reason,
            actor=actor,
            operation_id=operation_id,
            gate=gate,
        )

    def recover(self) -> None:
        """Settle the changes that a crash left unfinished.

        Raises
        ------
        StateError: another process is changing the pointer.
        """
        with self._exclusive():
            pass

    def settle(self, entry: Entry) -> Entry:
        """End an unfinished change: completed if the stage names its version, else abandoned."""
        if self.in_production() != [entry.to_version]:
            return self.ledger.end(entry, "abandoned")
        self._write_mirrors(entry.to_version)
        return self.ledger.end(entry, "completed")

    def move_to(self, version: str) -> list[str]:
        """Write the stage, then the alias and the mirrors; call it inside ``leases.fenced``.

        Returns
        -------
        The warnings about an alias or a mirror that was not written.

        Raises
        ------
        RegistryError: the stage was not written.
        """
        failpoint("before_stage")
        with reachable(self.settings):
            stage_and_alias.set_stage(self._client, self.model, version)
        failpoint("after_stage")
        return self._write_mirrors(version)

    def _rollback_choices(self, found: str | None) -> list[str]:
        promoted = self.ledger.promoted_versions()
        if found is None and not promoted:
            raise RegistryError(f"{self.model}: nothing is in Production, so there is nothing to roll back")
        if found is not None and promoted[-1:] != [found]:
            raise RegistryError(
                f"{self.model}: version {found} is in Production, but the ledger has"
                f" {promoted[-1] if promoted else 'none'}: the stage was changed by hand; run doctor --repair"
            )
        choices = earlier_versions(self, found)
        if not choices:
            raise RegistryError(
                f"{self.model}: version {found or promoted[-1]} was the first; there is no version to roll back to"
            )
        return choices

    @contextmanager
    def _exclusive(self, wait: float = leases.WAIT) -> Iterator[leases.Lease]:
        """Hold the lease, after unfinished changes were settled."""
        held = leases.held(self.store, self.lease_name, self._lease_ttl, wait)
        with reachable(self.settings), held as lease:
            failpoint("after_lease")
            for entry in self.ledger.unfinished():
                with leases.fenced(self.store, lease):
                    self.settle(entry)
            yield lease
        failpoint("after_release")

    def _change(self, lease: leases.Lease, kind: Kind, found: str | None, version: Version, **details: Any) -> Entry:
        """Make a change under a lease: intent, stage, alias and mirrors, end of the entry."""
        failpoint("before_intent")
        moved: tuple[Entry, list[str]] | None = None
        try:
            with leases.fenced(self.store, lease):
                done = self._completed(details["operation_id"], kind, version.version)
                if done:
                    return done
                if self._current_number() != found:
                    raise RegistryError(
                        f"{self.model}: the stage was changed by hand meanwhile; nothing was changed here; see"
                        " python run.py status, and repeat the command"
                    )
                entry = self.ledger.record(kind, "intended", version, before=found, token=lease.token, **details)
                failpoint("after_intent")
                moved = entry, self.move_to(version.version)
                self.ledger.end(entry, "completed")
        except StateError as error:
            if moved is None:
                raise
            # The stage has moved: the next operation, or doctor, completes the entry.
            moved[1].append(f"the end in the ledger was not written: {one_line(error)}")
            logger.warning("%s version %s: %s", self.model, version.version, moved[1][-1])
        failpoint("after_completion")
        entry, warnings = moved
        return replace(self._ended(entry), warnings=tuple(warnings))

    def _ended(self, entry: Entry) -> Entry:
        """Return a completed entry as it is in the ledger, or as it was before the store failed."""
        try:
            return self.ledger.find(entry.operation_id) or entry
        except StateError:
            return replace(entry, state="completed")

    def _completed(self, operation_id: str | None, kind: Kind, version: str | None = None) -> Entry | None:
        """Return the entry of an operation that was completed before."""
        if operation_id is None:
            return None
        if not 0 < len(operation_id) <= LONGEST_ID:
            raise RegistryError(f"an operation id has 1 to {LONGEST_ID} characters, got {len(operation_id)}")
        entry = self.ledger.find(operation_id)
        if entry is None or entry.state != "completed":
            return None
        if entry.kind != kind or version not in (None, entry.to_version):
            raise RegistryError(
                f"{self.model}: the operation {operation_id!r} was a {entry.kind} to version {entry.to_version};"
                " use another id for another operation"
            )
        return entry

    def _current_number(self) -> str | None:
        found = self.in_production()
        if len(found) > 1:
            raise RegistryError(
                f"{self.model}: versions {', '.join(found)} are all in Production, only one is allowed:"
                " run doctor --repair"
            )
        return found[0] if found else None

    def _write_mirrors(self, version: str) -> list[str]:
        """Write the alias and the mirrors; one that cannot be written must not undo a promotion, and is a warning."""
        warnings = attempt("the alias", lambda: stage_and_alias.set_alias(self._client, self.model, version))
        failpoint("after_alias")
        for mirror in self.mirrors:
            name = f"{mirror.name}'s stage of {self.model} version {version}"
            warnings += attempt(name, partial(mirror.write, self.model, version))
        failpoint("after_mirrors")
        return warnings


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise RegistryError(
            "a reason is required, such as --reason 'better recall on the new season'; got an empty one"
        )
