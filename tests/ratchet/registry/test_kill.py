"""``kill -9`` at every write point of a promotion and of a rollback."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from ratchet.registry import production_pointer
from ratchet.registry.doctor import examine, repair
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.conftest import ROOT
from tests.ratchet.registry.conftest import FileMirror, Watcher, register

# Forks each victim from a process that has imported MLflow already, which takes seconds.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])
# Each place, whether the change has taken effect there, and the findings of doctor.
PLACES = {
    "after_lease": (False, set()),
    "before_intent": (False, set()),
    "after_intent": (False, {"unfinished"}),
    "before_stage": (False, {"unfinished"}),
    "after_stage": (True, {"unfinished", "shadow_differs", "mirror_differs"}),
    "after_alias": (True, {"unfinished", "mirror_differs"}),
    "after_mirrors": (True, {"unfinished"}),
    "after_completion": (True, set()),
    "after_release": (True, set()),
}


def test_every_failpoint_in_the_code_has_a_test() -> None:
    import re

    found = {
        name: path
        for folder in ("ratchet", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'\bfailpoint\("(\w+)"\)', path.read_text())
    }
    assert {name for name, path in found.items() if path.name == "production_pointer.py"} == set(PLACES)
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in found if f'"{name}"' not in tests] == []


def test_an_unset_failpoint_does_nothing() -> None:
    import dis

    from ratchet.store.failpoints import failpoint

    work = [i.opname for i in dis.get_instructions(failpoint) if i.opname not in ("RESUME", "NOP")]
    assert work in (["LOAD_CONST", "RETURN_VALUE"], ["RETURN_CONST"])


CASES = [
    *(("on_sqlite", place) for place in PLACES),
    # PostgreSQL has an advisory lock instead of a lock file.
    *(("on_postgresql", place) for place in ("after_lease", "after_stage")),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["promote", "rollback"])
@pytest.mark.parametrize(("where", "place"), CASES)
def test_a_killed_change_is_atomic_for_readers_and_repaired_by_doctor(
    where: str, place: str, kind: str, request: pytest.FixtureRequest
) -> None:
    settings: Settings = request.getfixturevalue(where)
    model = register(settings, 3)
    pointer = ProductionPointer(settings, model, mirrors=[FileMirror(settings.home)])
    pointer.promote("1", "r", "test")
    pointer.promote("2", "r", "test")
    with Watcher(settings, model) as watcher:
        assert run(settings, place, model, kind) == -signal.SIGKILL
    to = "3" if kind == "promote" else "1"
    took_effect, expected = PLACES[place]
    now = to if took_effect else "2"
    assert set(watcher.seen) <= {("2",), (to,)}
    assert (watcher.seen[0], pointer.in_production()) == (("2",), [now])
    codes = {finding.code for finding in examine(pointer)}
    assert expected <= codes <= expected | {"lease_left"}

    assert repair(pointer, "doctor")[1] == []
    current = pointer.current()
    assert current is not None
    assert [current.version] == [now] == pointer.with_alias() == pointer.ledger.promoted_versions()[-1:]
    assert pointer.mirrors[0].read(model) == now
    # The pointer works as before.
    other = "3" if now == "2" else "2"
    assert pointer.promote(other, "r", "test").from_version == now


def run(settings: Settings, place: str, model: str, kind: str, operation_id: str | None = None) -> int | None:
    """Change the pointer in a process that is killed at a failpoint; return its exit code."""
    victim = FORKS.Process(target=change, args=(settings, place, model, kind, operation_id))
    victim.start()
    victim.join(60)
    return victim.exitcode


def change(settings: Settings, place: str, model: str, kind: str, operation_id: str | None) -> None:
    def failpoint(name: str) -> None:
        if name == place:
            os.kill(os.getpid(), signal.SIGKILL)

    production_pointer.failpoint = failpoint
    pointer = ProductionPointer(settings, model, mirrors=[FileMirror(settings.home)], lease_ttl=1.0)
    if kind == "promote":
        pointer.promote(pointer.versions()[0], "r", "victim", operation_id=operation_id)
    else:
        pointer.rollback("r", "victim", operation_id=operation_id)


def test_the_next_change_settles_a_killed_one(on_sqlite: Settings) -> None:
    model = register(on_sqlite, 3)
    pointer = ProductionPointer(on_sqlite, model)
    pointer.promote("1", "r", "test")
    pointer.promote("2", "r", "test")
    run(on_sqlite, "after_stage", model, "promote")
    assert pointer.in_production() == ["3"]
    assert pointer.rollback("r", "test").to_version == "2"
    assert examine(pointer) == []
    assert [entry.state for entry in pointer.ledger.history()] == ["completed"] * 4


@pytest.mark.slow
def test_a_killed_operation_that_is_retried_takes_effect_once(on_sqlite: Settings) -> None:
    model = register(on_sqlite, 2)
    pointer = ProductionPointer(on_sqlite, model)
    pointer.promote("1", "r", "test")
    for place, code in (("after_intent", -9), ("after_mirrors", -9), ("", 0), ("", 0)):
        assert run(on_sqlite, place, model, "promote", "o") == code
    assert pointer.in_production() == ["2"]
    assert len(pointer.ledger.history()) == 2
    assert examine(pointer) == []
