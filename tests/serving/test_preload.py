"""The imports that are made once, before the workers are forked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

STATE = """
import gc, json, sys, threading
import serving.preload
from ratchet.settings import load_settings
missing = [name for name in serving.preload.modules(load_settings()) if name not in sys.modules]
state = {
    "modules": sorted(sys.modules), "missing": missing, "collects": gc.isenabled(), "frozen": gc.get_freeze_count(),
    "threads": threading.active_count(),
}
print(json.dumps(state))
"""


def preloaded(home: Path, **environment: str) -> dict[str, Any]:
    """Import the modules in a new process, as the process that the workers are forked from does."""
    own = {"RATCHET_HOME": str(home), "PATH": "/usr/bin:/bin", "HOME": str(home), **environment}
    done = subprocess.run((sys.executable, "-c", STATE), cwd=ROOT, env=own, capture_output=True, text=True, check=True)
    state: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return state


@pytest.mark.parametrize(
    ("variables", "store", "client"),
    [
        ({}, True, True),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}, False, True),
        ({"MODEL_PATH": "model.joblib"}, False, False),
    ],
    ids=["store", "server", "file"],
)
def test_workers_are_forked_with_the_imports_that_they_need(
    variables: dict[str, str], store: bool, client: bool, tmp_path: Path
) -> None:
    state = preloaded(tmp_path, **variables)
    assert state["missing"] == []
    assert ("mlflow.store.tracking.sqlalchemy_store" in state["modules"]) is store
    assert ("mlflow" in state["modules"]) is client
    assert state["threads"] == 1


def test_imports_are_outside_of_the_collections_of_the_workers_which_go_on(tmp_path: Path) -> None:
    state = preloaded(tmp_path)
    assert state["collects"]
    assert state["frozen"] > 100_000
