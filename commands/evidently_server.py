"""Evidently's own pages on the workspace in the home: ``uvicorn --factory commands.evidently_server:create``."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any


def create() -> Any:
    """Return Evidently's application."""
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently.ui.service.app import create_app, get_config

    from ratchet.monitoring.reports.job import workspace
    from ratchet.settings import load_settings

    folder = str(workspace(load_settings()))
    config = get_config(host="127.0.0.1", port=0, workspace=folder)  # uvicorn has the address
    # Evidently sets the path of the snapshots only; the default for the panels is ./workspace.
    config.dashboard.path = folder
    config.telemetry.enabled = False
    with contextlib.redirect_stdout(io.StringIO()):  # Evidently lists its components
        return create_app(config)
