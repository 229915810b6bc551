"""Random sequences of promote, refuse, rollback, crash and repair keep the pointer consistent.

The registry and the store are real; a crash is an exception that no handler catches, with the lease left behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ratchet.errors import RegistryError
from ratchet.registry import production_pointer
from ratchet.registry.doctor import examine, repair
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.tables import leases as lease_table
from tests.ratchet.registry.conftest import register

VERSIONS = st.sampled_from(["1", "2", "3", "4"])
PLACES = st.sampled_from(
    ["after_lease", "before_intent", "after_intent", "before_stage", "after_stage", "after_alias", "after_mirrors"]
)


class Crash(BaseException):
    """The process was killed."""


class Pointer(RuleBasedStateMachine):
    """A pointer, compared with a list of the versions that were promoted and not rolled back."""

    home: ClassVar[Settings]

    def __init__(self) -> None:
        super().__init__()
        self.promoted: list[str] = []
        self.crashed = False

    @initialize()
    def begin(self) -> None:
        self.pointer = ProductionPointer(self.home, register(self.home, 4))

    @rule(version=VERSIONS)
    def promote(self, version: str) -> None:
        if self.promoted[-1:] == [version]:
            with pytest.raises(RegistryError, match="in Production already"):
                self.pointer.promote(version, "r", "a")
        else:
            entry = self.pointer.promote(version, "r", "a", expected=self.promoted[-1] if self.promoted else None)
            assert entry.state == "completed"
            self.promoted.append(version)
        self.crashed = False

    @rule(version=VERSIONS)
    def promote_with_a_wrong_expectation(self, version: str) -> None:
        with pytest.raises(RegistryError, match="another process promoted|in Production already"):
            self.pointer.promote(version, "r", "a", expected="99")
        self.crashed = False

    @rule(version=VERSIONS)
    def refuse(self, version: str) -> None:
        self.pointer.refuse(version, "too weak", "a", [])

    @rule()
    def rollback(self) -> None:
        if len(self.promoted) < 2:
            with pytest.raises(RegistryError, match="nothing|no version to roll back to"):
                self.pointer.rollback("r", "a")
        else:
            assert self.pointer.rollback("r", "a").to_version == self.promoted[-2]
            self.promoted.pop()
        self.crashed = False

    @rule(version=VERSIONS, place=PLACES)
    def crash_in_a_promotion(self, version: str, place: str) -> None:
        if self.promoted[-1:] == [version]:
            return
        with self._dying_at(place):
            self.pointer.promote(version, "r", "a")
        if self.pointer.in_production() == [version]:
            self.promoted.append(version)

    @precondition(lambda self: len(self.promoted) > 1)
    @rule(place=PLACES)
    def crash_in_a_rollback(self, place: str) -> None:
        with self._dying_at(place):
            self.pointer.rollback("r", "a")
        if self.pointer.in_production() == [self.promoted[-2]]:
            self.promoted.pop()

    @rule()
    def repair(self) -> None:
        repair(self.pointer, "doctor")
        assert examine(self.pointer) == []
        self.crashed = False

    @invariant()
    def exactly_one_version_is_in_production(self) -> None:
        if hasattr(self, "pointer"):
            assert self.pointer.in_production() == self.promoted[-1:]

    @invariant()
    def without_a_crash_all_agree(self) -> None:
        if hasattr(self, "pointer") and not self.crashed:
            assert self.pointer.with_alias() == self.promoted[-1:]
            assert self.pointer.ledger.promoted_versions() == self.promoted
            assert self.pointer.ledger.unfinished() == []

    @contextmanager
    def _dying_at(self, place: str) -> Iterator[None]:
        """Crash at a failpoint without a release of the lease, and let the lease expire."""

        def die(name: str) -> None:
            if name == place:
                raise Crash

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(production_pointer, "failpoint", die)
            patch.setattr(leases, "release", _forget)
            with pytest.raises(Crash):
                yield
        self.crashed = True
        with self.pointer.store.transaction() as connection:
            connection.execute(sa.update(lease_table).values(expires_at=0.0))


def _forget(*_: Any) -> None:
    """Replace the release of a lease, which a killed process does not do."""


@pytest.fixture
def untraced() -> Iterator[None]:
    """Pause coverage, which would double the time; other tests cover the same lines."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("untraced")
def test_a_thousand_random_sequences(tmp_path: Path) -> None:
    Pointer.home = Settings(home=tmp_path, models_dir=tmp_path / "models")
    run_state_machine_as_test(
        Pointer,
        settings=settings(
            max_examples=1000,
            stateful_step_count=6,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
