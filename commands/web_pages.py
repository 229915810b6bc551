"""The pages that other tools bring along: Evidently's on our reports, MLflow's on our runs."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import sys
from typing import NoReturn

from ratchet.errors import ConfigError, StateError
from ratchet.monitoring.reports.job import workspace
from ratchet.settings import Settings

PORTS = {"evidently": 8082, "mlflow": 5000}


def serve_evidently(settings: Settings, host: str, port: int) -> None:
    """Show the reports until Ctrl-C or SIGTERM.

    Raises
    ------
    StateError: no report was drawn yet.
    ConfigError: the address cannot be listened on.
    """
    folder = workspace(settings)
    if not folder.is_dir():
        raise StateError(f"there is no report in {folder} yet: draw one with python run.py report")
    _announce(host, port)
    os.environ["DO_NOT_TRACK"] = "1"
    import uvicorn
    from evidently.ui.service.app import create_app, get_config

    config = get_config(host=host, port=port, workspace=str(folder))
    # Evidently sets the path of the snapshots alone, and would look for the panels in ./workspace.
    config.dashboard.path = str(folder)
    config.telemetry.enabled = False
    signal.signal(signal.SIGTERM, _interrupt)
    # On standard output it lists what it is made of.
    with contextlib.suppress(KeyboardInterrupt), contextlib.redirect_stdout(io.StringIO()):
        uvicorn.run(create_app(config), host=host, port=port, log_level="warning")


def serve_mlflow(settings: Settings, host: str, port: int) -> NoReturn:
    """Show the runs until Ctrl-C or SIGTERM; this process becomes MLflow's.

    Raises
    ------
    ConfigError: the runs are on a server that has pages, or the address cannot be listened on.
    """
    if settings.tracking_uri.startswith("http"):
        raise ConfigError(f"the runs are on a server, which has these pages itself: {settings.tracking_place}")
    _announce(host, port)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # seven processes of 240 MB that we never ask
    where = ["--backend-store-uri", settings.tracking_uri, "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *where])  # noqa: S606


def _announce(host: str, port: int) -> None:
    """Make sure that an address can be listened on, and say so."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host} port {port} ({reason}): end who does, or choose another with --port"
        ) from None
    sys.stderr.write(f"http://{host}:{port} until Ctrl-C\n")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
