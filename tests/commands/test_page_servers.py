"""Servers of pages: reported when they answer or end, and stopped together, whatever happens to the command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from commands import page_servers
from commands.page_servers import Page, started
from tests.conftest import ROOT
from tests.waiting import until

# A server that answers each path; CHILD has it do so in a process of its own, and DEAF ignores SIGTERM.
SERVER = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()
    def log_message(self, *_): pass
if "DEAF" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "CHILD" not in os.environ or os.fork() == 0:
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
else:
    os.wait()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def page(name: str = "page", program: str = SERVER, **environment: str) -> Page:
    port = free_port()
    return Page(name, "a test", "127.0.0.1", port, (sys.executable, "-c", program, str(port)), environment=environment)


def listens(shown: Page) -> bool:
    return page_servers.answers(shown.host, shown.port, "/health")


@pytest.mark.parametrize("environment", [{}, {"CHILD": "1"}], ids=["one process", "a process and its child"])
def test_servers_are_ready_when_they_answer_and_stopped_at_the_end(environment: dict[str, str], tmp_path: Path) -> None:
    pages = [page("a", **environment), page("b", **environment)]
    with started([*pages, Page("elsewhere", "nothing to start", address="http://localhost")], tmp_path) as events:
        ready = {next(events).page.name, next(events).page.name}
        assert ready == {"a", "b"}
        assert all(map(listens, pages))
    assert not any(map(listens, pages))


def test_a_server_that_ends_is_reported_with_its_last_line_and_the_others_go_on(tmp_path: Path) -> None:
    fails = page("fails", r"import sys; sys.exit('a log line\nerror: \x1b[31mno model is registered\x1b[0m\n\n')")
    silent = page("silent", "raise SystemExit(3)")
    lives = page("lives")
    with started([fails, silent, lives], tmp_path) as events:
        found = {event.page.name: event.ended for event in (next(events), next(events), next(events))}
        assert found == {"fails": "no model is registered", "silent": "it ended with status 3", "lives": None}
        assert listens(lives)


def test_the_events_end_when_all_servers_have(tmp_path: Path) -> None:
    with started([page("a", "1 / 0"), page("b", "1 / 0")], tmp_path) as events:
        assert {event.ended for event in events} == {"ZeroDivisionError: division by zero"}


def test_a_server_that_ignores_the_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_servers, "GRACE", 0.1)
    deaf = page(DEAF="1")
    with started([deaf], tmp_path) as events:
        next(events)
    until(lambda: not listens(deaf))


def test_an_error_in_the_block_stops_the_servers(tmp_path: Path) -> None:
    shown = page()

    def fail() -> None:
        with started([shown], tmp_path) as events:
            next(events)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not listens(shown)


def test_the_servers_of_a_command_that_was_killed_end_too(tmp_path: Path) -> None:
    shown = page(CHILD="1")
    program = (
        "import sys; from pathlib import Path; from commands.page_servers import Page, started\n"
        "page = Page('page', '', '127.0.0.1', int(sys.argv[1]), (sys.executable, '-c', *sys.argv[2:], sys.argv[1]))\n"
        f"with started([page], Path({str(tmp_path)!r})) as events:\n    list(events)"
    )
    command = [sys.executable, "-c", program, str(shown.port), SERVER]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"CHILD": "1"})
    try:
        until(lambda: listens(shown), 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not listens(shown), 30)


@pytest.mark.parametrize(("host", "url"), [("::1", "http://[::1]:80"), ("localhost", "http://localhost:80")])
def test_the_address_of_a_page(host: str, url: str) -> None:
    assert Page("page", "", host, 80).url == url
