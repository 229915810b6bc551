"""Starting the service: checked before a socket is opened, then the workers and the relay under one supervisor."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from ratchet.errors import ConfigError, RatchetError
from ratchet.feedback.signed_links import Links
from ratchet.settings import Settings, load_settings, prepare_home
from serving.environment import prepare_environment
from serving.keys import Keys
from serving.supervisor import Role, Supervisor, exit_with_parent

# Seconds for a worker to write what is waiting, after its last request was answered.
_GRACE = 5.0
# The file in the scratch folder that holds the model's name, once it is known.
_MODEL = "model"


def serve(settings: Settings) -> None:
    """Serve until told to stop.

    Parameters
    ----------
    settings: with what the command line said in them.

    Raises
    ------
    ConfigError: the address is taken, what must be secret outside a local environment is not, or there is no such
        model or file.
    RegistryError: no model is registered, or the registry cannot be reached.
    StateError: the home cannot be written.
    """
    Keys(settings)
    prepare_home(settings)
    Links(settings)
    if settings.model_path and not settings.model_path.is_file():
        raise ConfigError(
            f"MODEL_PATH: there is no file {settings.model_path}; training writes models/<model>/model.joblib"
        )
    port = _free_port(settings.host, settings.port)
    scratch = Path(tempfile.mkdtemp(prefix="ratchet-"))
    # In memory where that can be: the counts are mapped files, and a full disk under one ends its process.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    counts = Path(tempfile.mkdtemp(prefix="ratchet-metrics-", dir=memory))
    try:
        _hand_down(settings, scratch, counts)
        roles: list[Role] = [(work, (settings.host, port, str(scratch)))] * settings.workers
        roles.append((relay, (str(scratch / "relay"),)))
        supervisor = Supervisor(roles, settings.request_timeout + _GRACE, _preloaded(settings))
        if settings.model_path is None:
            supervisor.check(find_model, (str(scratch),), lambda: _announce(settings.host, port))
        else:
            _announce(settings.host, port)
        supervisor.run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(counts, ignore_errors=True)


def work(host: str, port: int, scratch: str) -> None:
    """Answer requests; the main function of a worker.

    Each worker listens for itself, so that the kernel deals new connections out to them. With one socket for all, the
    worker that wakes up first takes a whole burst, and the others idle for as long as these connections live.
    """
    import uvicorn

    from serving.app import create

    exit_with_parent()
    if (found := Path(scratch, _MODEL)).is_file():
        os.environ["RATCHET_SERVE_MODEL"] = found.read_text()
    settings = load_settings()
    config = uvicorn.Config(
        create,
        factory=True,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=math.ceil(settings.request_timeout),
    )
    with socket.socket(_family(host)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        uvicorn.Server(config).run([listener])


def relay(path: str) -> None:
    """Write what the workers predict; the main function of the relay.

    Parameters
    ----------
    path: of its socket; short, since the system allows a hundred characters.
    """
    import uvloop

    from ratchet.inference.write_relay import RelayServer
    from ratchet.store.database import open_store
    from serving.json_logging import log_as_json

    # Ctrl-C goes to all processes; the workers have rows to write when they get it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
    settings = load_settings()
    log_as_json(settings.log_level)
    server = RelayServer(lambda: open_store(settings, settings.log_patience))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.run(Path(path)))


def find_model(scratch: str) -> RatchetError | None:
    """Ask the registry for the model; what is wrong with it, or None.

    A worker that starts again later takes the name from here, since the registry may be down by then.
    """
    from ratchet.tracking import choose_model

    settings = load_settings()
    try:
        name = choose_model(settings, settings.serve_model)
    except RatchetError as error:
        return error
    partial = Path(scratch, f"{_MODEL}.partial")
    partial.write_text(name)
    partial.rename(Path(scratch, _MODEL))
    return None


def _announce(host: str, port: int) -> None:
    host = f"[{host}]" if ":" in host else host
    print(f"serving on http://{host}:{port}, documentation at /docs; Ctrl-C ends it", file=sys.stderr, flush=True)


def _preloaded(settings: Settings) -> list[str]:
    """What every worker imports sooner or later."""
    modules = ["serving.app", "serving.service", "serving.endpoints", "_bentoml_impl.client", "onnxruntime", "uvloop"]
    if settings.model_path is None:
        modules += ["ratchet.registry.production_pointer", "ratchet.inference.package_cache"]
        if not settings.tracking_uri.startswith("http"):
            modules += ["mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"]
    return modules


def _hand_down(settings: Settings, scratch: Path, counts: Path) -> None:
    """Workers read their settings from the environment like everybody else."""
    prepare_environment()
    if settings.serve_model:
        os.environ["RATCHET_SERVE_MODEL"] = settings.serve_model
    os.environ["RATCHET_RELAY"] = str(scratch / "relay")
    # Read by BentoML when it is imported: no tracing around every request.
    os.environ.setdefault("BENTOML_CONFIG_OPTIONS", "tracing.excluded_urls=.*")
    # Each worker counts in files of its own there; see serving/telemetry.py.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counts)


def _free_port(host: str, port: int) -> int:
    """The port, or a free one for 0; nobody else may listen on it, since the workers would share it with him."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host} port {port} ({error.strerror}): end who does, or choose another with --port"
            ) from None
        return int(probe.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
