from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from serving.metric_files import exclusive, merge_dead, register
from tests.conftest import ROOT

WORKER = """
import os, sys
from pathlib import Path
from prometheus_client import Counter, Gauge
from serving.metric_files import register
register(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
counter = Counter("served", "Served.", ["status"])
counter.labels("200").inc(int(sys.argv[1]))
counter.labels("422").inc(0.5)
Gauge("alive", "Alive.", multiprocess_mode="livesum").set(1)
print(flush=True)
sys.stdin.read() if len(sys.argv) > 2 else os._exit(9)
"""


def start(folder: Path, count: int, *more: str) -> subprocess.Popen[str]:
    """Start a worker that counts, and dies at once unless it has to stay."""
    pipe, env = subprocess.PIPE, {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    words = [sys.executable, "-c", WORKER, str(count), *more]
    worker = subprocess.Popen(words, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True)
    assert worker.stdout is not None
    worker.stdout.readline()
    return worker


def counts(folder: Path) -> Counter[tuple[str, str]]:
    """The samples of all files."""
    families = MultiProcessCollector(None, str(folder)).collect()
    found = [sample for family in families for sample in family.samples]
    return Counter({(sample.name, sample.labels.get("status", "")): sample.value for sample in found})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for metrics."""
    return tmp_path


def test_the_counts_of_dead_workers_remain_and_their_files_do_not_pile_up(folder: Path) -> None:
    for count in range(1, 6):
        start(folder, count).communicate()
    with start(folder, 10, "stay") as living:
        with exclusive(folder):
            merge_dead(folder)
        expected = {("served_total", "200"): 25, ("served_total", "422"): 3.0, ("alive", ""): 1}
        assert {key: counts(folder)[key] for key in expected} == expected
        own = {f"counter_{living.pid}.db", f"gauge_livesum_{living.pid}.db", f"{living.pid}.pid"}
        assert {path.name for path in folder.iterdir()} == {*own, "counter_dead.db", "merge.lock"}
        with exclusive(folder):
            merge_dead(folder)
        assert counts(folder)["served_total", "200"] == 25, "a second merge adds nothing"
        living.kill()


def test_a_worker_that_starts_merges_those_that_died_before(folder: Path) -> None:
    for count in (3, 4):
        start(folder, count).communicate()
    register(folder)
    assert counts(folder)["served_total", "200"] == 7
    assert {path.name for path in folder.glob("*.db")} == {"counter_dead.db"}
    assert [path.name for path in folder.glob("*.pid")] == [f"{os.getpid()}.pid"]


def test_a_worker_that_died_before_it_counted_is_forgotten(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    (folder / f"{int(done.stdout)}.pid").touch()
    register(folder)
    assert [path.name for path in folder.glob("*.pid")] == [f"{os.getpid()}.pid"]


def test_a_merge_that_was_killed_leaves_the_counts_as_they_were(folder: Path) -> None:
    start(folder, 3).communicate()
    (folder / "counter_dead.partial").write_bytes(b"\xff" * 100)
    register(folder)
    assert counts(folder)["served_total", "200"] == 3
