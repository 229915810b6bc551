"""The loop with real processes: service, watcher and a drifting stream, as ``make demo-loop`` runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_the_figure_of_the_demo_is_in_a_folder_that_git_ignores() -> None:
    shown = subprocess.run(
        [sys.executable, "docs/demos/loop.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    default = re.search(r"\(default: (.*loop\.png)\)", " ".join(shown.stdout.split()))
    assert default is not None
    assert subprocess.run(["git", "check-ignore", "--quiet", default[1]], cwd=ROOT, check=False).returncode == 0


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_drift_is_detected_a_challenger_is_promoted_and_quality_recovers(tmp_path: Path) -> None:
    picture = tmp_path / "loop.png"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RATCHET_", "MLFLOW_", "ZENML_"))}
    before_it = status()
    demo = subprocess.run(
        [sys.executable, "docs/demos/loop.py", "--picture", str(picture)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout[-3000:] + demo.stderr[-2000:]
    events = demo.stdout.rpartition("# The events")[2]
    before, fallen, recovered = (
        int(re.search(pattern, events)[1])  # type: ignore[index]
        for pattern in (r"(\d+)% right before", r"(\d+)% right from here", r"(\d+)% of the lost quality has recovered")
    )
    assert before - fallen >= 10
    assert recovered >= 80
    assert "drift is detected" in events
    assert "goes into Production" in events
    assert picture.stat().st_size > 10_000
    assert status() == before_it, "the demo writes nothing into the repository"


def status() -> str:
    return subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
