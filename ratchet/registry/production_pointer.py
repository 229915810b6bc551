"""The production pointer: the only code that changes what is in Production.

A change is written down before it begins and after it is done, made under a lease with a fencing token, and
compared with what the caller believed to be there. Between the two writes to the ledger, a change of the truth
is one transaction of MLflow's, so that a reader finds the old version or the new one, and never none or both.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException

from ratchet.errors import RegistryError, one_line
from ratchet.registry import stage_and_alias
from ratchet.registry.model_version import Mirror, Version, from_mlflow, ledger_fields
from ratchet.registry.promotion_ledger import Entry, Kind, Ledger
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.database import Store, open_store
from ratchet.store.failpoints import failpoint
from ratchet.tracking import connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

PRODUCTION = stage_and_alias.PRODUCTION
# What the ledger has room for.
LONGEST_ID = 64
# "Whatever is there now" for promote's expected version, which may also be None for nothing.
ANY = "*"


class ProductionPointer:
    """Which version of a model is in Production, and the one way to change it.

    Parameters
    ----------
    settings: where MLflow and the store are, and whether the stage or the alias is the truth.
    model: the registered model's name.
    verify: makes sure that a version loads and says what it said; called before anything moves.
    mirrors: other systems to tell.
    lease_ttl: seconds until the lease of a holder that died or hangs may be taken over.
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
        self._settings = settings
        self._verify = verify
        self._lease_ttl = lease_ttl
        self._client = connect(settings)

    @cached_property
    def store(self) -> Store:
        """Ratchet's store; opened at the first need, since who only reads the pointer needs none."""
        return open_store(self._settings)

    @cached_property
    def ledger(self) -> Ledger:
        """The history of this pointer."""
        return Ledger(self.store, self.model)

    @property
    def lease_name(self) -> str:
        """The lease that changes are made under."""
        return f"production of {self.model}"

    def current(self) -> Version | None:
        """The version in Production, or None where nothing was promoted yet.

        Raises
        ------
        RegistryError: MLflow cannot be reached, or more than one version is in Production.
        """
        with self._reachable():
            found = self._number()
            return self.get(found) if found else None

    def get(self, version: str) -> Version:
        """One version.

        Raises
        ------
        RegistryError: MLflow cannot be reached, or there is no such version of this model.
        """
        with self._reachable():
            try:
                return from_mlflow(self._client.get_model_version(self.model, version))
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                known = ", ".join(str(v.version) for v in self._newest_first()) or "none"
                raise RegistryError(f"{self.model} has no version {version!r}; registered are: {known}") from None

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
        """Put a version into Production and take the one that was there out of it.

        Parameters
        ----------
        version: the version to promote.
        reason: why; kept in the ledger.
        actor: who; kept in the ledger.
        expected: the version the caller believes to be in Production, None for none.
        operation_id: the same for every attempt at the same change; a change that is done is not done again.
        gate: the gate's checks, kept in the ledger.

        Raises
        ------
        RegistryError: another version than expected is in Production, the version is there already or does not
            exist, or MLflow cannot be reached.
        PackageError: the version does not load or does not say what it said.
        StateError: the lease could not be had, or was lost; nothing moved.
        """
        _require_reason(reason)
        wanted = self.get(version)
        version = wanted.version
        with self._alone() as lease:
            found = self._number()
            done = self._done(operation_id, "promote", version)
            if done:
                return done
            if found == version:
                raise RegistryError(f"{self.model} version {version} is in Production already")
            if expected not in (ANY, found):
                raise RegistryError(
                    f"{self.model}: expected version {expected or 'none'} in Production, found {found or 'none'};"
                    " somebody else promoted meanwhile"
                )
            return self._change(lease, "promote", found, wanted, reason, actor, operation_id, gate)

    def rollback(self, reason: str, actor: str, *, operation_id: str | None = None) -> Entry:
        """Put the version back that was in Production before, as the ledger has it.

        Raises
        ------
        RegistryError: there is nothing to go back to, or the ledger and MLflow disagree.
        PackageError: the version to go back to does not load or does not say what it said; nothing moved.
        StateError: as for ``promote``.
        """
        _require_reason(reason)
        with self._alone() as lease:
            done = self._done(operation_id, "rollback")
            if done:
                return done
            found, teeth = self._number(), self.ledger.teeth()
            if found is None:
                raise RegistryError(f"{self.model}: nothing is in Production, so there is nothing to roll back")
            if not teeth or teeth[-1] != found:
                raise RegistryError(
                    f"{self.model}: version {found} is in Production, the ledger says {teeth[-1] if teeth else 'none'}:"
                    " somebody moved it by hand; run doctor --repair"
                )
            if len(teeth) == 1:
                raise RegistryError(f"{self.model}: version {found} was the first; there is nothing to go back to")
            return self._change(lease, "rollback", found, self.get(teeth[-2]), reason, actor, operation_id, None)

    def refuse(
        self, version: str, reason: str, actor: str, gate: list[dict[str, Any]], *, operation_id: str | None = None
    ) -> Entry:
        """Write down that the gate refused a version; nothing moves."""
        found = self._number()
        done = self.ledger.find(operation_id) if operation_id else None
        if done:
            return done
        return self.ledger.record(
            "refused",
            operation_id=operation_id or uuid.uuid4().hex,
            kind="promote",
            from_version=found,
            to_version=version,
            reason=reason,
            actor=actor,
            gate=gate,
            token=0,
            **self.lineage(version),
        )

    def history(self, limit: int | None = None) -> Sequence[Entry]:
        """What was done to the pointer, newest first."""
        return self.ledger.history(limit)

    def verify(self, version: str) -> None:
        """Make sure that a version loads and says what it said when it was made.

        Raises
        ------
        PackageError: it does not.
        """
        self._verify(self.get(version))

    def truth(self) -> list[str]:
        """The versions that the truth (stage or alias) has in Production; one is right, none is a beginning."""
        with self._reachable():
            return self._read[self._settings.production_truth](self._client, self.model)

    def shadow(self) -> list[str]:
        """The versions that the mirror of the truth (alias or stage) has."""
        with self._reachable():
            return self._read["alias" if self._settings.production_truth == "stage" else "stage"](
                self._client, self.model
            )

    def point(self, version: str, *, truth: bool = True) -> None:
        """Write truth, shadow and mirrors, in this order. Only under the lease and inside its exclusive lock."""
        failpoint("before_truth")
        order = [stage_and_alias.set_stage, stage_and_alias.set_alias]
        if self._settings.production_truth == "alias":
            order.reverse()
        with self._reachable():
            if truth:
                order[0](self._client, self.model, version)
            failpoint("after_truth")
            order[1](self._client, self.model, version)
        failpoint("after_shadow")
        for mirror in self.mirrors:
            self._tell(mirror, version)
        failpoint("after_mirrors")

    def recover(self) -> None:
        """End what a crash left open, by what the truth says became of it.

        Raises
        ------
        StateError: somebody is changing what is in Production just now.
        """
        with self._alone():
            pass

    def settle(self, entry: Entry) -> Entry:
        """End an intent that a crash left open, by what the truth says became of it."""
        if self.truth() != [entry.to_version]:
            return self.ledger.end(entry, "abandoned")
        self.point(entry.to_version, truth=False)
        return self.ledger.end(entry, "completed")

    @contextmanager
    def _alone(self) -> Iterator[leases.Lease]:
        """Hold the lease, with nothing left open by a crash."""
        with self._reachable(), leases.held(self.store, self.lease_name, self._lease_ttl) as lease:
            failpoint("after_lease")
            for entry in self.ledger.unfinished():
                with self.writing(lease):
                    self.settle(entry)
            yield lease
        failpoint("after_release")

    @contextmanager
    def writing(self, lease: leases.Lease) -> Iterator[None]:
        """Write under a lease that is still ours, and that nobody can take over until this is left.

        Raises
        ------
        StateError: the lease was lost.
        """
        with self.store.exclusive(self.lease_name):
            leases.check(self.store, lease)
            yield

    def _change(
        self,
        lease: leases.Lease,
        kind: Kind,
        found: str | None,
        version: Version,
        reason: str,
        actor: str,
        operation_id: str | None,
        gate: list[dict[str, Any]] | None,
    ) -> Entry:
        self._verify(version)
        failpoint("before_intent")
        with self.writing(lease):
            done = self._done(operation_id, kind, version.version)
            if done:
                return done
            if self._number() != found:
                raise RegistryError(f"{self.model}: somebody moved it by hand meanwhile; nothing was changed")
            entry = self.ledger.intend(
                operation_id=operation_id or uuid.uuid4().hex,
                kind=kind,
                from_version=found,
                to_version=version.version,
                reason=reason,
                actor=actor,
                gate=gate,
                token=lease.token,
                **ledger_fields(version),
            )
            failpoint("after_intent")
            self.point(version.version)
            entry = self.ledger.end(entry, "completed")
        failpoint("after_completion")
        return entry

    def _done(self, operation_id: str | None, kind: Kind, version: str | None = None) -> Entry | None:
        """The entry of an operation that is done already."""
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
                " give another one an id of its own"
            )
        return entry

    def _number(self) -> str | None:
        found = self.truth()
        if len(found) > 1:
            numbers = ", ".join(found)
            raise RegistryError(
                f"{self.model}: versions {numbers} are all in Production, exactly one may be: run doctor --repair"
            )
        return found[0] if found else None

    def lineage(self, version: str) -> dict[str, Any]:
        """What the ledger keeps of a version: its run, digest and data version."""
        return ledger_fields(self.get(version))

    def _tell(self, mirror: Mirror, version: str) -> None:
        try:
            mirror.write(self.model, version)
        except Exception as error:  # a display that cannot be reached must not undo a promotion
            logger.warning("%s could not be told of %s version %s: %s", mirror.name, self.model, version, error)

    @cached_property
    def _read(self) -> dict[str, Callable[..., list[str]]]:
        return {"stage": stage_and_alias.in_stage, "alias": stage_and_alias.with_alias}

    def versions(self) -> list[str]:
        """The numbers of all registered versions, newest first."""
        with self._reachable():
            return [str(version.version) for version in self._newest_first()]

    def _newest_first(self) -> list[ModelVersion]:
        return list(self._client.search_model_versions(f"name = '{self.model}'", order_by=["version_number DESC"]))

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            raise RegistryError(f"MLflow at {self._settings.tracking_place}: {one_line(error)}") from None


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise RegistryError("a reason is needed, such as --reason 'better recall on the new season': it was empty")
