"""Homes that hold the stores of MLflow and ZenML already: copying them takes no time, creating them takes seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from tests import services

# Names the folder of the template; set once for a test run, and inherited by the workers of pytest-xdist.
TEMPLATE = "TEST_HOME_TEMPLATE"
_MLFLOW = Path("mlflow.db")
_ZENML = Path("zenml")
_BUILD = """
import logging
from pipelines.stack import use_embedded_store
from ratchet.settings import load_settings, quiet_environment
from ratchet.tracking import connect
quiet_environment()
logging.disable(logging.INFO)
settings = load_settings()
connect(settings).search_experiments()
use_embedded_store(settings)
from zenml.client import Client
Client().zen_store
"""


def prepared(home: Path) -> Path:
    """Copy the template's stores into a home that has none, and return the home.

    With ``RATCHET_TEST_SERVICES=1`` MLflow's store is on PostgreSQL, and only ZenML's is copied.
    """
    template = _built(Path(os.environ[TEMPLATE]))
    home.mkdir(parents=True, exist_ok=True)
    if not services.in_use():
        shutil.copyfile(template / _MLFLOW, home / _MLFLOW)
    shutil.copytree(template / _ZENML, home / _ZENML)
    # The only file with the home's path in it.
    config = home / _ZENML / "config.yaml"
    config.write_text(config.read_text().replace(str(template), str(home.resolve())))
    return home


def _built(template: Path) -> Path:
    """The template, built once; in a process of its own, since ZenML stays with the first home of a process."""
    home = template / "home"
    with FileLock(template / "lock"):
        if not home.exists():
            partial = template / "partial"
            env = {name: value for name, value in os.environ.items() if not name.startswith(("ZENML_", "MLFLOW_"))}
            env |= {"RATCHET_HOME": str(partial), "PYTHONPATH": ""}
            root = Path(__file__).resolve().parent.parent
            subprocess.run(
                [sys.executable, "-c", _BUILD], cwd=root, env=env, check=True, stdout=subprocess.DEVNULL, timeout=300
            )
            config = partial / _ZENML / "config.yaml"
            config.write_text(config.read_text().replace(str(partial), str(home)))
            partial.rename(home)
    return home
