"""What a process of the service expects of its environment."""

from __future__ import annotations

import os

from ratchet.settings import quiet_environment


def prepare_environment() -> None:
    """Keep libraries quiet and impatient; a value that the user has set is left alone."""
    quiet_environment()
    # An MLflow that hangs is told as one that is down, and not after minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
