"""``kill -9`` at every write point of a promotion and of a rollback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ratchet.doctor import examine, repair
from ratchet.registry import ProductionPointer
from ratchet.settings import Settings
from tests.conftest import ROOT
from tests.promotion.conftest import register

PROGRAM = """
import sys
from ratchet.registry import ProductionPointer
from ratchet.settings import load_settings
pointer = ProductionPointer(load_settings(), sys.argv[1], lease_ttl=1.0)
if sys.argv[2] == "promote":
    pointer.promote("3", "r", "victim")
else:
    pointer.rollback("r", "victim")
"""
# Each place, whether the change had taken effect by then, and what the doctor finds besides.
PLACES = {
    "after_lease": (False, set()),
    "before_intent": (False, set()),
    "after_intent": (False, {"unfinished"}),
    "before_truth": (False, {"unfinished"}),
    "after_truth": (True, {"unfinished", "shadow_differs"}),
    "after_shadow": (True, {"unfinished"}),
    "after_mirrors": (True, {"unfinished"}),
    "after_completion": (True, set()),
    "after_release": (True, set()),
}


def test_every_failpoint_in_the_code_is_tried() -> None:
    import re

    found = {
        name
        for path in (ROOT / "ratchet").rglob("*.py")
        for name in re.findall(r'\bfailpoint\("(\w+)"\)', path.read_text())
    }
    assert found == set(PLACES)


def test_unset_a_failpoint_is_nothing() -> None:
    import dis

    from ratchet.failpoints import failpoint

    work = [i.opname for i in dis.get_instructions(failpoint) if i.opname not in ("RESUME", "NOP")]
    assert work in (["LOAD_CONST", "RETURN_VALUE"], ["RETURN_CONST"])


@pytest.mark.parametrize("kind", ["promote", "rollback"])
@pytest.mark.parametrize(
    ("truth", "place"),
    # The order of truth and mirror differs at these places alone.
    [("stage", place) for place in PLACES] + [("alias", p) for p in ("after_intent", "after_truth", "after_shadow")],
)
def test_a_killed_change_is_named_and_mended_and_never_seen_by_halves(
    on_sqlite: Settings, place: str, kind: str, truth: str
) -> None:
    settings = on_sqlite.model_copy(update={"production_truth": truth})
    model = register(settings, 3)
    pointer = ProductionPointer(settings, model)
    pointer.promote("1", "r", "test")
    pointer.promote("2", "r", "test")
    seen, done = [], threading.Event()

    def watch() -> None:
        reader = ProductionPointer(settings, model)
        while not done.is_set():
            seen.append(tuple(reader.truth()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    env = {
        **os.environ,
        "RATCHET_HOME": str(settings.home),
        "RATCHET_PRODUCTION_TRUTH": truth,
        "RATCHET_FAILPOINT": place,
    }
    victim = subprocess.run(
        [sys.executable, "-c", PROGRAM, model, kind], cwd=ROOT, env=env, capture_output=True, check=False, timeout=60
    )
    done.set()
    watcher.join()
    assert victim.returncode == -signal.SIGKILL, victim.stderr.decode()
    to = "3" if kind == "promote" else "1"
    took_effect, expected = PLACES[place]
    assert set(seen) <= {("2",), (to,)}
    assert pointer.truth() == [to if took_effect else "2"]
    codes = {finding.code for finding in examine(pointer)}
    assert expected <= codes <= expected | {"lease_left"}

    repair(pointer, "doctor")
    assert examine(pointer) == []
    current = pointer.current()
    assert current is not None
    assert current.version == (to if took_effect else "2")
    assert pointer.shadow() == [current.version] == pointer.ledger.teeth()[-1:]
    # And the pointer goes on as if nothing had been.
    other = "3" if current.version == "2" else "2"
    assert pointer.promote(other, "r", "test").from_version == current.version


def test_a_change_that_was_killed_is_settled_by_the_next_one(on_sqlite: Settings) -> None:
    model = register(on_sqlite, 3)
    pointer = ProductionPointer(on_sqlite, model)
    pointer.promote("1", "r", "test")
    pointer.promote("2", "r", "test")
    env = {**os.environ, "RATCHET_HOME": str(on_sqlite.home), "RATCHET_FAILPOINT": "after_truth"}
    subprocess.run([sys.executable, "-c", PROGRAM, model, "promote"], cwd=ROOT, env=env, check=False, timeout=60)
    assert pointer.truth() == ["3"]
    assert pointer.rollback("r", "test").to_version == "2"
    assert examine(pointer) == []
    assert [entry.state for entry in pointer.history()] == ["completed"] * 4


def test_a_killed_operation_that_is_tried_again_is_done_once(on_sqlite: Settings, tmp_path: Path) -> None:
    model = register(on_sqlite, 2)
    pointer = ProductionPointer(on_sqlite, model)
    pointer.promote("1", "r", "test")
    program = PROGRAM.replace('pointer.promote("3", "r", "victim")', 'pointer.promote("2", "r", "v", operation_id="o")')
    program = program.replace('"o"', repr(model))
    for place, code in (("after_intent", -9), ("after_mirrors", -9), ("", 0), ("", 0)):
        env = {**os.environ, "RATCHET_HOME": str(on_sqlite.home), "RATCHET_FAILPOINT": place}
        run = subprocess.run(
            [sys.executable, "-c", program, model, "promote"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert run.returncode == code, run.stderr.decode()
    assert pointer.truth() == ["2"]
    assert len(pointer.history()) == 2
    assert examine(pointer) == []
