"""The pages of other tools: Evidently's for reports, MLflow's for runs."""

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
from ratchet.open_address import warn_if_open
from ratchet.settings import Settings

PORTS = {"evidently": 8082, "mlflow": 5000}


def serve_evidently(settings: Settings, host: str, port: int) -> None:
    """Show the reports until Ctrl-C or SIGTERM.

    Raises
    ------
    StateError: there is no report yet.
    ConfigError: the address is in use or invalid.
    """
    folder = workspace(settings)
    if not folder.is_dir():
        raise StateError(f"there is no report in {folder} yet: draw one with python run.py report")
    _print_url(host, port)
    os.environ["DO_NOT_TRACK"] = "1"
    import uvicorn
    from evidently.ui.service.app import create_app, get_config

    config = get_config(host=host, port=port, workspace=str(folder))
    # Evidently sets the path of the snapshots only; the default for the panels is ./workspace.
    config.dashboard.path = str(folder)
    config.telemetry.enabled = False
    signal.signal(signal.SIGTERM, _interrupt)
    # Evidently lists its components on standard output.
    with contextlib.suppress(KeyboardInterrupt), contextlib.redirect_stdout(io.StringIO()):
        uvicorn.run(create_app(config), host=host, port=port, log_level="warning")


def serve_mlflow(settings: Settings, host: str, port: int) -> NoReturn:
    """Show the runs until Ctrl-C or SIGTERM, by replacing this process with MLflow's server.

    Raises
    ------
    ConfigError: the runs are on a server that has these pages itself, or the address is in use or invalid.
    StateError: there is no run yet.
    """
    from ratchet.tracking.connection import is_present

    if settings.tracking_uri.startswith("http"):
        raise ConfigError(f"the runs are on a server, which has these pages itself: {settings.tracking_place}")
    if not is_present(settings):
        raise StateError(
            f"there is no run in {settings.home.resolve()} yet: train with python run.py --config baseline.yaml, or set"
            " RATCHET_HOME"
        )
    _print_url(host, port)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # unused here: seven processes of 240 MB
    where = ["--backend-store-uri", settings.tracking_uri, "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", *where])  # noqa: S606


def _print_url(host: str, port: int) -> None:
    """Check that a port is free, and print its URL."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host} port {port} ({reason}): stop the process that uses it,"
            " or choose another port with --port"
        ) from None
    warn_if_open(host, "use these pages", "put a proxy with a login in front of them")
    sys.stderr.write(f"http://{host}:{port} until Ctrl-C\n")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
