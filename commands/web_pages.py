"""The pages of a project, one or all: MLflow's, ZenML's, Evidently's and the service's."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from commands.console.pages import PageTable, starting
from commands.page_servers import GRACE, Page, answers, started
from ratchet.errors import ConfigError, RatchetError, StateError
from ratchet.open_address import warn_if_open
from ratchet.settings import Settings, without_password

ROOT = Path(__file__).resolve().parent.parent
# Has the app ratchet of MLflow's server, which is commands/mlflow_server.py.
_MLFLOW_PLUGIN = ROOT / "commands" / "mlflow_plugin"
# Seconds that the service has to answer its requests and to write their rows.
_GRACE_OF_SERVICE = 40.0
_TRAIN = "train with python run.py --config baseline.yaml, or set RATCHET_HOME"


class PagesElsewhereError(ConfigError):
    """A server that runs already has these pages."""

    def __init__(self, what: str, url: str) -> None:
        super().__init__(f"{what} are on a server, which has these pages itself: {without_password(url)}")
        self.url = re.sub("://[^/@]*@", "://", url)  # without user and password


@dataclass(frozen=True)
class Tool:
    """A tool with pages.

    Attributes
    ----------
    name, shows: the tool, and what its pages show.
    start: the path at which the browser opens them.
    port: the default port; None for that of the settings.
    page: makes the page from settings, host and port; raises RatchetError if there is nothing to show.
    """

    name: str
    shows: str
    start: str
    port: int | None
    page: Callable[[Settings, str, int], Page]


def show_tool(settings: Settings, tool: str, host: str, port: int | None, *, browser: bool) -> None:
    """Show the pages of one tool until Ctrl-C or SIGTERM.

    Raises
    ------
    ConfigError: the pages are on a server, or the address is in use or invalid.
    StateError: there is nothing to show yet, or the server has ended.
    """
    page = _page(TOOLS[tool], settings, host, port)
    _warn(host)
    with _until_interrupt(), started([page], None) as events, starting(page.name) as done:
        for event in events:
            if event.ended is not None:
                done()
                raise StateError(f"{page.name}: {event.ended}; its log above has the reason")
            done()
            sys.stderr.write(f"{page.url} until Ctrl-C\n")
            _open(page, browser=browser)


def show_all(settings: Settings, host: str, port: int | None, *, browser: bool) -> None:
    """Show the pages of all tools that have something to show, until Ctrl-C or SIGTERM.

    Parameters
    ----------
    port: the port of the first tool, the next ones have the following ports; None for the default of each.

    Raises
    ------
    StateError: there is nothing to show, or all servers have ended.
    """
    table = PageTable()
    pages = []
    for number, tool in enumerate(TOOLS.values()):
        try:
            page = _page(tool, settings, host, None if port is None else port + number)
        except PagesElsewhereError as found:
            page = Page(tool.name, tool.shows, address=found.url, start=tool.start)
        except RatchetError as error:
            table.leave_out(tool.name, str(error))
            continue
        table.add(page)
        pages.append(page)
    if any(page.command for page in pages):
        _warn(host)
    _serve(pages, table, browser=browser)


def _serve(pages: Sequence[Page], table: PageTable, *, browser: bool) -> None:
    logs = tempfile.TemporaryDirectory(prefix="ratchet-ui-")
    with logs, _until_interrupt(), started(pages, Path(logs.name)) as events, table.shown():
        for page in pages:
            if not page.command:
                table.ready(page)
                _open(page, browser=browser)
        for event in events:
            if event.ended is not None:
                table.ended(event.page, event.ended)
            else:
                table.ready(event.page)
                _open(event.page, browser=browser)
        if not pages or any(page.command for page in pages):
            raise StateError("no page is served; the lines above have the reasons")


def _mlflow(settings: Settings, host: str, port: int) -> Page:
    if settings.tracking_uri.startswith("http"):
        raise PagesElsewhereError("the runs", settings.tracking_uri)
    if not settings.has_tracking_store:
        raise StateError(f"there is no run in {settings.home.resolve()} yet: {_TRAIN}")
    where = ("--backend-store-uri", settings.tracking_uri, "--host", host, "--port", str(port))
    limits = ("--workers", "1", "--uvicorn-opts", f"--log-level warning --timeout-graceful-shutdown {GRACE}")
    environment = {
        # Jobs are unused here: seven processes of 240 MB.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": os.environ.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
        "PYTHONWARNINGS": "ignore:starlette.middleware.wsgi is deprecated",  # MLflow's, at each start
        "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(_MLFLOW_PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = (sys.executable, "-m", "mlflow", "ui", "--app-name", "ratchet", *where, *limits)
    return Page("MLflow", TOOLS["mlflow"].shows, host, port, command, environment=environment)


def _zenml(settings: Settings, host: str, port: int) -> Page:
    from pipelines.stack import server_url
    from pipelines.zenml_server import local_environment

    url = server_url(settings)
    if url:
        raise PagesElsewhereError("the pipelines", url)
    environment = local_environment(settings)
    command = _uvicorn("pipelines.zenml_server:create", host, port)
    return Page("ZenML", TOOLS["zenml"].shows, host, port, command, environment=environment)


def _evidently(settings: Settings, host: str, port: int) -> Page:
    from ratchet.monitoring.reports.job import workspace

    folder = workspace(settings)
    if not folder.is_dir():
        raise StateError(f"there is no report in {folder} yet: draw one with python run.py report")
    command = _uvicorn("commands.evidently_server:create", host, port)
    return Page("Evidently", TOOLS["evidently"].shows, host, port, command, "/api/version")


def _service(settings: Settings, host: str, port: int) -> Page:
    """Return the page of the service, which may run already."""
    tool = TOOLS["service"]
    if answers(host, port, "/livez"):
        return Page(tool.name, tool.shows, host, port)
    if settings.model_path is None and not settings.has_tracking_store:
        raise StateError(f"no model is registered in {settings.home.resolve()} yet: {_TRAIN}")
    model = ("--model", settings.serve_model) if settings.serve_model else ()
    command = (sys.executable, str(ROOT / "run.py"), "serve", "--host", host, "--port", str(port), *model)
    return Page(tool.name, tool.shows, host, port, command, "/readyz", grace=_GRACE_OF_SERVICE)


def _uvicorn(factory: str, host: str, port: int) -> tuple[str, ...]:
    where = ("--app-dir", str(ROOT), "--host", host, "--port", str(port))
    limits = ("--log-level", "warning", "--timeout-graceful-shutdown", str(GRACE))
    return (sys.executable, "-m", "uvicorn", "--factory", factory, *where, *limits)


# Past the home pages, which are about language models in MLflow, and about ZenML's product in ZenML.
_EXPERIMENTS = "/#/experiments?workflowType=machine_learning"
_PIPELINES = "/projects/default/pipelines"

# In the order of the table.
TOOLS = {
    "mlflow": Tool("MLflow", "runs, comparisons, registered versions", _EXPERIMENTS, 5000, _mlflow),
    "zenml": Tool("ZenML", "pipelines, steps, artifacts", _PIPELINES, 8237, _zenml),
    "evidently": Tool("Evidently", "reports: quality and drift in production", "/", 8082, _evidently),
    "service": Tool("service", "predictions, feedback, documentation", "/", None, _service),
}


def _page(tool: Tool, settings: Settings, host: str, port: int | None) -> Page:
    """Return the page of a tool whose port is free, or on which its server runs already."""
    page = tool.page(settings, host, port or tool.port or settings.port)
    if page.command:
        _check_address(page.host, page.port)
    return replace(page, start=tool.start)


def _check_address(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot listen on {host} port {port} ({reason}): stop the process that uses it,"
            " or choose another port with --port"
        ) from None


def _warn(host: str) -> None:
    warn_if_open(host, "use these pages", "put a proxy with a login in front of them")


def _open(page: Page, *, browser: bool) -> None:
    """Open a page in the browser of a desktop; on a machine without one, a browser of the terminal would open."""
    desktop = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    if browser and desktop:
        webbrowser.open_new_tab(page.url + page.start)


@contextlib.contextmanager
def _until_interrupt() -> Iterator[None]:
    """Run a block until Ctrl-C, SIGTERM or the end of the terminal."""
    heeded = (number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN)
    before = {number: signal.signal(number, _interrupt) for number in heeded}  # nohup ignores SIGHUP
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
