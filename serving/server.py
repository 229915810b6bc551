"""The start of the service: checks of the settings, then the workers under a supervisor."""

from __future__ import annotations

import math
import os
import socket
import time
from functools import partial
from pathlib import Path

from ratchet.errors import ConfigError, RatchetError
from ratchet.open_address import warn_if_open
from ratchet.secret_strength import check_secrets
from ratchet.settings import Settings, load_settings, prepare_home
from serving.connection_table import ConnectionTable, Limits, allow_connections
from serving.environment import BATCH_SOCKET, prepare_environment
from serving.readiness import announce_start, announce_when_ready
from serving.shared_folder import shared_folder
from serving.supervisor import Role, Supervisor, exit_with_parent

# Seconds that a worker has to write its queue after its last response.
_GRACE = 5.0
# Bytes that the path of a Unix socket may have on every system.
_LONGEST_ADDRESS = 100
# Connections that may wait to be accepted, for each worker; the kernel has a limit of its own (net.core.somaxconn).
_BACKLOG = 4096
# The file in the shared folder with the name of the model.
_MODEL_FILE = "model"


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    ConfigError: the address is in use, a secret is missing or weak, or there is no such model or file.
    RegistryError: no model is registered, or the registry cannot be reached.
    StateError: the home cannot be written, or a worker cannot start.
    """
    check_secrets(settings)
    if not settings.api_keys:
        warn_if_open(settings.host, "predict, read predictions and send feedback", "set RATCHET_API_KEYS")
    prepare_home(settings)
    if settings.model_path and not settings.model_path.is_file():
        raise ConfigError(
            f"MODEL_PATH: there is no file {settings.model_path}; training writes models/<model>/model.joblib"
        )
    settings = settings.model_copy(update={"port": _free_port(settings.host, settings.port)})
    started = time.monotonic()
    announce_start(settings)
    with shared_folder() as folder:
        _set_environment(settings, folder)
        address = settings.host, settings.port
        roles: list[Role] = [(work, (*address, str(folder), Limits.of_worker(settings)))] * settings.workers
        grace = settings.request_timeout + _GRACE
        supervisor = Supervisor(roles, grace, ["serving.preload"], last=[*_batch_roles(folder), (move_rows, ())])
        if settings.model_path is None:
            supervisor.check(find_model, (str(folder),), lambda: announce_when_ready(settings, started))
        else:
            announce_when_ready(settings, started)
        supervisor.run()


def work(host: str, port: int, folder: str, limits: Limits) -> None:
    """Run a worker, which serves requests.

    Each worker has its own socket, so that the kernel distributes new connections over them. With a shared socket, the
    worker that wakes up first accepts a whole burst of connections, and the others stay idle while these are open.
    """
    import uvicorn

    from serving.app import create
    from serving.graceful_server import GracefulServer
    from serving.http_protocol import HttpProtocol

    exit_with_parent()
    if (found := Path(folder, _MODEL_FILE)).is_file():
        os.environ["RATCHET_SERVE_MODEL"] = found.read_text()
    settings = load_settings()
    allow_connections(limits.connections)
    table = ConnectionTable(limits)
    config = uvicorn.Config(
        create,
        factory=True,
        loop="uvloop",
        http=partial(HttpProtocol, table),  # type: ignore[arg-type] # uvicorn calls it like a class
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        ws="none",
        backlog=_BACKLOG,
        timeout_graceful_shutdown=math.ceil(settings.request_timeout),
    )
    with socket.socket(_family(host)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        GracefulServer(config, table).run([listener])


def answer_batches(address: str) -> None:
    """Run the process that answers batches."""
    from serving.batch_process import serve_batches

    exit_with_parent()
    serve_batches(address)


def _batch_roles(folder: Path) -> list[Role]:
    """Return the role of the process of batches, after its address is set for the workers."""
    address = str(folder / "batches.sock")
    if len(os.fsencode(address)) > _LONGEST_ADDRESS:  # the workers answer batches themselves
        return []
    os.environ[BATCH_SOCKET] = address
    return [(answer_batches, (address,))]


def move_rows() -> None:
    """Run the process that moves the rows of the journal into the store."""
    from serving.journal_process import move_journal

    exit_with_parent()
    move_journal()


def find_model(folder: str) -> RatchetError | None:
    """Look up the model in the registry; returns the error if there is none.

    The name is written to a file, since the registry may be down when a worker restarts.
    """
    from ratchet.data.atomic_write import write_whole
    from ratchet.loop.machines import register_at_start
    from ratchet.tracking import choose_model

    settings = load_settings()
    register_at_start(settings, serving=True)
    try:
        name = choose_model(settings, settings.serve_model)
    except RatchetError as error:
        return error
    write_whole(Path(folder, _MODEL_FILE), lambda path: path.write_text(name))
    return None


def _set_environment(settings: Settings, folder: Path) -> None:
    """Set the variables from which the worker processes read their settings."""
    prepare_environment()
    if settings.serve_model:
        os.environ["RATCHET_SERVE_MODEL"] = settings.serve_model
    # BentoML reads this when it is imported: no tracing of requests.
    os.environ.setdefault("BENTOML_CONFIG_OPTIONS", "tracing.excluded_urls=.*")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; another process on it would share the connections of the workers."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port} ({error.strerror}): stop the process that does, or choose another"
                " port with --port"
            ) from None
        return int(probe.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
