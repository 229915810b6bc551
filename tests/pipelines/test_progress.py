"""What libraries log while a pipeline runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LOG = "import logging, mlflow; logging.getLogger('mlflow.store').info('a table is created')"
BLOCKS = {
    "a command that reads": f"from pipelines.progress import silence_libraries; silence_libraries(); {LOG}",
    "a run": f"from pipelines.progress import step_events\nwith step_events(print, verbose=False): {LOG}",
    "a verbose run": f"from pipelines.progress import step_events\nwith step_events(print, verbose=True): {LOG}",
}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_library_that_is_imported_later_is_silent_unless_the_run_is_verbose(block: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "MLFLOW_LOGGING_LEVEL"}
    command = [sys.executable, "-W", "ignore", "-c", BLOCKS[block]]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert ("a table is created" in ended.stderr + ended.stdout) == (block == "a verbose run")
