"""Environment variables of a service process."""

from __future__ import annotations

import os

from ratchet.settings import quiet_environment

# The address of the process of batches for the workers; not set if there is none.
BATCH_SOCKET = "_RATCHET_BATCH_SOCKET"


def prepare_environment() -> None:
    """Set the variables that keep libraries quiet and timeouts short, except those that the user has set."""
    quiet_environment()
    # MLflow's own default of two minutes delays the report that the registry is down.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
