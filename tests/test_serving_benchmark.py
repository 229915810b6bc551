"""The parts of the benchmark of serving that decide what is counted and which peers run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

PEERS = ROOT / "benchmarks" / "serving_peers"
SPIN = "import time\nwhile time.process_time() < 0.3: pass\n"
CHILD_THAT_ENDED = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN!r}])\n"
CHILD_IN_A_SESSION_OF_ITS_OWN = (
    f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {SPIN + 'input()'!r}],"
    " stdin=subprocess.PIPE, start_new_session=True)\n"
)


@pytest.fixture(autouse=True)
def _peers_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize(
    "code",
    [SPIN, CHILD_THAT_ENDED, CHILD_IN_A_SESSION_OF_ITS_OWN],
    ids=["own", "child that ended", "child in a session of its own"],
)
def test_processor_time_counts_the_whole_tree(code: str) -> None:
    from serving_peers.processor_time import processor_time

    server = subprocess.Popen((sys.executable, "-c", f"{code}\ninput()"), stdin=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        # A later reading may be lower, while a process moves from one parent to another.
        while (spent := processor_time(server.pid)) < 0.25 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 0.25 <= spent < 5
    finally:
        server.communicate(b"\n")


def test_a_peer_that_cannot_be_installed_is_left_out_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving_peers.environments import install

    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    assert install("granian", tmp_path) is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("left out: granian cannot be installed: ")


@pytest.mark.parametrize("path", sorted(PEERS.glob("requirements-*.txt")), ids=lambda path: path.stem)
def test_requirements_of_a_peer_are_pinned_and_name_no_registry(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines
    assert all("==" in line and "://" not in line for line in lines)


def test_the_documented_figures_are_those_of_the_result() -> None:
    from serving_peers import page

    result = json.loads((ROOT / "benchmarks" / "results" / "serving.json").read_text())
    assert page.page(result) == page.PAGE.read_text()
    readme = page.README.read_text()
    assert page.with_table(readme, result) == readme


@pytest.mark.parametrize(("load", "is_provisional"), [(0.1, False), (4.0, True)])
def test_figures_from_a_busy_machine_are_provisional(load: float, is_provisional: bool) -> None:
    from serving_peers import page

    result = json.loads((ROOT / "benchmarks" / "results" / "serving.json").read_text())
    written = page.page({**result, "load_average": load, "machine": {**result["machine"], "cpu_count": 2}})
    assert ("Provisional" in written) is is_provisional
