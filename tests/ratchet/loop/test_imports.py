"""The loop's tables are read without the libraries that compute their content."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import sys
import ratchet.loop.heartbeat, ratchet.loop.training_runs, ratchet.monitoring.windows
print(*{"mlflow", "pandas", "scipy", "sklearn"} & set(sys.modules))
"""


def test_the_tables_of_the_loop_are_read_without_libraries_of_training() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
