"""Starting the service: checked before a socket is opened, then uvicorn with its workers."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile

from ratchet.errors import ConfigError
from ratchet.settings import Settings
from serving.keys import Keys


def serve(settings: Settings) -> None:
    """Serve until told to stop.

    Parameters
    ----------
    settings: with the model's name, or the path of a file, resolved.

    Raises
    ------
    ConfigError: the address is taken, or what must be secret outside a local environment is not.
    """
    import uvicorn

    Keys(settings)
    if settings.model_path and not settings.model_path.is_file():
        raise ConfigError(
            f"MODEL_PATH: there is no file {settings.model_path}; training writes models/<model>/model.joblib"
        )
    _require_free(settings.host, settings.port)
    _hand_down(settings)
    metrics = tempfile.mkdtemp(prefix="ratchet-metrics-")
    # Each worker counts in files of its own there; see serving/telemetry.py.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
    try:
        uvicorn.run(
            "serving.app:create",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            loop="uvloop",
            http="httptools",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=int(settings.request_timeout),
        )
    finally:
        shutil.rmtree(metrics, ignore_errors=True)


def _hand_down(settings: Settings) -> None:
    """Workers are processes of their own, and read their settings from the environment like everybody else."""
    for name in ("serve_model", "host", "port", "workers"):
        value = getattr(settings, name)
        if value is not None:
            os.environ[f"RATCHET_{name.upper()}"] = str(value)
    if settings.model_path:
        os.environ["MODEL_PATH"] = str(settings.model_path)


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port} ({error.strerror}): end who does, or choose another with --port"
            ) from None
