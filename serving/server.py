"""Starting the service: checked before a socket is opened, then uvicorn with its workers."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from ratchet.errors import ConfigError
from ratchet.settings import Settings
from serving.keys import Keys
from serving.relaying import relaying


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
    from uvicorn.supervisors import Multiprocess

    Keys(settings)
    if settings.model_path and not settings.model_path.is_file():
        raise ConfigError(
            f"MODEL_PATH: there is no file {settings.model_path}; training writes models/<model>/model.joblib"
        )
    _require_free(settings.host, settings.port)
    _hand_down(settings)
    scratch = tempfile.mkdtemp(prefix="ratchet-")
    # Each worker counts in files of its own there; see serving/telemetry.py.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(Path(scratch) / "metrics")
    Path(scratch, "metrics").mkdir()
    config = uvicorn.Config(
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
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.request_timeout),
    )
    try:
        if settings.workers == 1:
            uvicorn.Server(config).run()
        else:
            with relaying(Path(scratch) / "relay"):
                Multiprocess(config, [_OwnSocket(settings.host, settings.port)]).run()  # type: ignore[list-item]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _OwnSocket:
    """Pickled for a worker, it is a listening socket of that worker's own.

    The kernel then deals new connections out to the workers. With one socket for all, the worker that wakes up first
    takes the whole burst, and the other one idles for as long as the connections live.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port

    def __reduce__(self) -> tuple[Callable[..., socket.socket], tuple[str, int]]:
        return _listen, self._address


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(_family(host))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _hand_down(settings: Settings) -> None:
    """Workers are processes of their own, and read their settings from the environment like everybody else."""
    for name in ("serve_model", "host", "port", "workers"):
        value = getattr(settings, name)
        if value is not None:
            os.environ[f"RATCHET_{name.upper()}"] = str(value)
    if settings.model_path:
        os.environ["MODEL_PATH"] = str(settings.model_path)


def _require_free(host: str, port: int) -> None:
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port} ({error.strerror}): end who does, or choose another with --port"
            ) from None
