"""Servers of web pages as child processes: started together, reported when they answer, and stopped together."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

# Seconds between two requests to a server that does not answer yet, and for the answer.
_PAUSE = 0.2
_TIMEOUT = 5.0
# Seconds that a server of pages has to finish its requests.
GRACE = 3


@dataclass(frozen=True, eq=False)
class Page:
    """A page and the command of its server.

    Attributes
    ----------
    name, shows: the tool, and what it shows.
    host, port: where the server listens.
    command: the server's command; empty for a server that runs already.
    ready: a path with status 200 when the server is ready.
    environment: variables of the server, added to those of this process.
    address: the URL, if it is not that of host and port.
    grace: seconds that the server has to end after its port is free.
    start: the path at which the browser opens the page.
    """

    name: str
    shows: str
    host: str = ""
    port: int = 0
    command: tuple[str, ...] = ()
    ready: str = "/health"
    environment: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    grace: float = 0.0
    start: str = ""

    @property
    def url(self) -> str:
        """The address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.address or f"http://{host}:{self.port}"


@dataclass(frozen=True)
class Event:
    """A server answers for the first time (``ended`` is None), or has ended for this reason."""

    page: Page
    ended: str | None = None


@contextmanager
def started(pages: Sequence[Page], logs: Path | None) -> Iterator[Iterator[Event]]:
    """Start a server for each page, and stop them all at the end of the block.

    Parameters
    ----------
    pages: the pages; those without a command are left out.
    logs: a folder for the standard errors of the servers; None for this process's own.

    Returns
    -------
    The events, until all servers have ended.
    """
    servers: list[_Server] = []
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    guard = None
    try:
        servers.extend(_Server(page, events, logs and logs / page.name) for page in pages if page.command)
        guard = _guard(servers)
        yield _until_all_ended(events, len(servers))
    finally:
        _stop(servers)
        if guard:
            guard.kill()
            guard.communicate()


def answers(host: str, port: int, path: str) -> bool:
    """Return whether a server answers a path with status 200."""
    wildcards = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104
    connection = http.client.HTTPConnection(wildcards.get(host, host), port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class _Server:
    """The process of a page's server, in a session of its own, so that Ctrl-C reaches this process alone."""

    def __init__(self, page: Page, events: queue.SimpleQueue[Event], log: Path | None) -> None:
        self.page = page
        self._events = events
        self._log = log
        with log.open("wb") if log else contextlib.nullcontext() as errors:
            self.process = subprocess.Popen(  # noqa: S603
                page.command,
                env={**os.environ, **page.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        threading.Thread(target=self._report, daemon=True).start()

    def _report(self) -> None:
        while self.process.poll() is None:
            if answers(self.page.host, self.page.port, self.page.ready):
                self._events.put(Event(self.page))
                break
            time.sleep(_PAUSE)
        self.process.wait()
        self._events.put(Event(self.page, self._reason()))

    def _reason(self) -> str:
        """Return the last line that the server has written, or its status."""
        text = ""
        with contextlib.suppress(FileNotFoundError):  # the command has ended, and removed the logs
            text = self._log.read_text(errors="replace") if self._log else ""
        lines = [line.strip() for line in re.sub(r"\x1b\[[\d;]*m", "", text).splitlines() if line.strip()]
        return lines[-1].removeprefix("error: ") if lines else f"it ended with status {self.process.returncode}"

    def signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def wait(self) -> None:
        """Wait until the port is free and the process has ended, as long as it may take."""
        deadline = time.monotonic() + 2 * GRACE
        while not is_free(self.page.host, self.page.port) and time.monotonic() < deadline:
            if self.process.poll() is not None:  # without its children
                self.signal_group(signal.SIGTERM)
            time.sleep(_PAUSE / 4)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.page.grace)


def is_free(host: str, port: int) -> bool:
    """Return whether a server can listen on an address."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def _until_all_ended(events: queue.SimpleQueue[Event], running: int) -> Iterator[Event]:
    while running:
        event = events.get()
        running -= event.ended is not None
        yield event


def _stop(servers: Sequence[_Server]) -> None:
    """Stop the servers; an interrupt kills them at once."""
    try:
        for server in servers:
            server.process.terminate()
        for server in servers:
            server.wait()
    finally:
        for server in servers:
            server.signal_group(signal.SIGKILL)


def _guard(servers: Sequence[_Server]) -> subprocess.Popen[bytes]:
    """Start a process that stops the servers when this process is killed: its standard input ends then."""
    groups = [f"-{server.process.pid}" for server in servers]
    return subprocess.Popen(  # noqa: S603
        ["/bin/sh", "-c", 'cat >/dev/null; kill -s TERM -- "$@"', "guard", *groups],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
