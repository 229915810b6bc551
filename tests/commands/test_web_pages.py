"""``ui``: all pages at once and single ones, what is left out, and the dashboard of ZenML in a browser."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import page_servers
from commands.page_servers import Page, started
from commands.web_pages import TOOLS, _until_interrupt, show_all, show_tool
from pipelines.runner import RunSummary
from pipelines.stack import ensure_stack
from ratchet.errors import ConfigError, StateError
from ratchet.settings import Settings
from tests import web_server
from tests.conftest import ROOT, Cli
from tests.terminal import RUN, Screen, Terminal, shown_by

CHROMIUM = "/usr/bin/chromium"
STEPS = {"ingest", "embed", "train", "evaluate", "drift_check", "promote"}
SINGLE = ("mlflow", "zenml", "evidently")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a home that has something for each page, and no server."""
    monkeypatch.delenv("ZENML_CONFIG_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    stores = tmp_path / "zenml" / "local_stores" / "default_zen_store"
    stores.mkdir(parents=True)
    (stores / "zenml.db").touch()
    (tmp_path / "evidently").mkdir()
    (tmp_path / "mlflow.db").touch()
    return Settings(home=tmp_path, mlflow_uri=f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize("tool", SINGLE)
def test_a_port_in_use_is_an_error_with_the_port_and_what_to_do(tool: str, own: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port} .*--port"):
            show_tool(own, tool, "127.0.0.1", port, browser=False)


def test_each_port_in_use_is_one_line(own: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    first = _free_ports(len(TOOLS))
    taken = [socket.create_server(("127.0.0.1", first + number)) for number in range(3)]
    try:
        empty = own.model_copy(update={"mlflow_uri": f"sqlite:///{own.home}/missing.db"})
        with pytest.raises(StateError, match="no page is served"):
            show_all(empty, "127.0.0.1", first, browser=False)
    finally:
        for one in taken:
            one.close()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" is not shown: ")[0] for line in lines] == ["MLflow", "ZenML", "Evidently", "service"]
    assert "there is no run in" in lines[0]
    assert all(re.search(r"cannot listen on 127.0.0.1 port \d+ .*--port$", line) for line in lines[1:3])
    assert "no model is registered in" in lines[3]


@pytest.mark.parametrize(
    ("tool", "update", "url"),
    [
        ("mlflow", {"mlflow_uri": "http://user:secret@mlflow.example:5000"}, "http://user:***@mlflow.example:5000"),
        ("zenml", {"zenml_store_url": "https://user:secret@zenml.example"}, "https://user:***@zenml.example"),
    ],
)
def test_pages_of_a_server_are_refused_with_its_address(
    tool: str, update: dict[str, str], url: str, own: Settings
) -> None:
    with pytest.raises(ConfigError, match=f"on a server, which has these pages itself: {re.escape(url)}"):
        show_tool(own.model_copy(update=update), tool, "127.0.0.1", None, browser=False)


def test_the_end_of_the_terminal_ends_the_pages_unless_nohup_ignores_it() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        for handler, ended in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            signal.signal(signal.SIGHUP, handler)
            goes_on = False
            with _until_interrupt():
                signal.raise_signal(signal.SIGHUP)
                goes_on = True
            assert goes_on is not ended
            assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("no_browser", [False, True])
def test_servers_that_run_already_are_linked_and_opened_in_the_browser(
    no_browser: bool, tmp_path: Path, cli: Cli
) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >>{opened}\n')
    browser.chmod(0o755)
    with web_server.serving() as site:
        site.put("/livez", b"ok")
        address = urllib.parse.urlsplit(site.url)
        first = str(int(address.port or 0) - 3)  # the service has the fourth port
        result = cli(
            *("ui", "--port", first, *(["--no-browser"] * no_browser)),
            RATCHET_HOME=str(tmp_path),
            MLFLOW_TRACKING_URI="http://user:secret@mlflow.example:5000",
            ZENML_STORE_URL="http://zenml.example:8237",
            BROWSER=f"{browser} %s",
        )
    assert result.returncode == 0, result.stderr
    urls = ["http://mlflow.example:5000", "http://zenml.example:8237", site.url]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[1] for row in rows[1:4]] == urls
    assert rows[4][:4] == ["Evidently", "is", "not", "shown:"]
    assert "Ctrl-C" not in result.stdout, "nothing was started"
    assert "secret" not in result.stdout
    starts = ["/#/experiments?workflowType=machine_learning", "/projects/default/pipelines", "/"]
    started_at = [url + start for url, start in zip(urls, starts, strict=True)]
    assert (opened.read_text().split() if opened.exists() else []) == ([] if no_browser else started_at)


@dataclass
class Shown:
    """``ui`` in a terminal of 80 columns."""

    terminal: Terminal
    screen: Screen
    port: int

    @property
    def zenml(self) -> str:
        return f"http://127.0.0.1:{self.port + 1}"


@pytest.fixture(scope="module")
def shown(first: RunSummary, settings: Settings) -> Iterator[Shown]:
    """All pages of the session's home, for which the survey of ZenML's dashboard was never answered."""
    _forget_survey(settings)
    port = _free_ports(len(TOOLS))
    command = [*RUN, "ui", "--port", str(port), "--no-browser", "--model", "iris"]
    with Terminal(command, RATCHET_HOME=str(settings.home)) as terminal:
        terminal.wait_for("Ctrl-C ends all", 240)
        yield Shown(terminal, terminal.screen(), port)


@pytest.mark.slow
def test_one_table_has_a_link_to_each_page_that_is_served(shown: Shown) -> None:
    lines = shown.screen.lines
    assert lines[0].split() == ["page", "address", "shows"]
    rows = [line.split() for line in lines if "http://" in line]
    names = {row[0]: row[1] for row in rows}
    assert (
        names.items()
        >= {
            "MLflow": f"http://127.0.0.1:{shown.port}",
            "ZenML": f"http://127.0.0.1:{shown.port + 1}",
            "service": f"http://127.0.0.1:{shown.port + 3}",
        }.items()
    )
    assert f"{shown.zenml}/projects/default/pipelines" in shown.screen.links
    assert {urllib.parse.urlsplit(url).netloc for url in shown.screen.links} == {
        urllib.parse.urlsplit(url).netloc for url in names.values()
    }
    assert shown.screen.widest <= 80
    assert "starting" not in shown.screen.text
    for path, number in (("/", 0), ("/docs", 3)):
        with urllib.request.urlopen(f"http://127.0.0.1:{shown.port + number}{path}", timeout=30) as answered:
            assert answered.status == 200


@pytest.mark.slow
def test_zenmls_dashboard_shows_the_pipeline_and_the_six_steps_of_a_run_without_a_survey(
    shown: Shown, first: RunSummary
) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        page.goto(f"{shown.zenml}/projects/default/pipelines")
        page.get_by_role("link", name="training", exact=True).wait_for()
        page.goto(f"{shown.zenml}/projects/default/runs/{first.zenml_run_id}")
        for step in STEPS:
            page.get_by_text(step, exact=True).first.wait_for()
        assert "/survey" not in page.url
        browser.close()


@pytest.mark.slow
def test_the_survey_is_answered_through_a_server_too(shown: Shown, settings: Settings) -> None:
    from zenml.zen_stores.rest_zen_store import RestZenStore, RestZenStoreConfiguration

    from pipelines.zenml_survey import answer_survey

    _forget_survey(settings)
    answer_survey(RestZenStore(config=RestZenStoreConfiguration(url=shown.zenml)), "default")
    assert _survey(settings) == (0, {"finished_onboarding_survey": True})


@pytest.mark.slow
def test_a_page_that_dies_is_one_line_and_ctrl_c_ends_the_others(shown: Shown) -> None:
    pattern = f"zenml_server:create .*--port {shown.port + 1} "
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=True)
    os.kill(int(found.stdout), signal.SIGKILL)
    shown.terminal.wait_for("ZenML is no longer shown: ")
    assert page_servers.answers("127.0.0.1", shown.port + 3, "/readyz")
    shown.terminal.interrupt()
    screen = shown.terminal.end()
    assert screen.status == 0
    assert screen.lines[: len(shown.screen.lines)] == shown.screen.lines, "the table stays"
    for number in range(len(TOOLS)):
        socket.create_server(("127.0.0.1", shown.port + number)).close()


@pytest.mark.slow
def test_a_single_page_prints_its_address_when_it_answers_and_ends_with_ctrl_c(
    first: RunSummary, settings: Settings
) -> None:
    port = _free_ports(1)
    command = [*RUN, "ui", "zenml", "--port", str(port), "--no-browser"]
    with Terminal(command, RATCHET_HOME=str(settings.home)) as terminal:
        terminal.wait_for("until Ctrl-C", 240)
        assert page_servers.answers("127.0.0.1", port, "/health")
        terminal.interrupt()
        screen = terminal.end()
    assert screen.lines[0] == f"http://127.0.0.1:{port} until Ctrl-C"
    assert screen.status == 0


@pytest.mark.slow
def test_a_single_page_that_dies_is_one_line_below_its_log(own: Settings) -> None:
    next(own.home.rglob("zenml.db")).write_text("this is not a database")
    screen = shown_by([*RUN, "ui", "zenml", "--port", str(_free_ports(1))], columns=120, RATCHET_HOME=str(own.home))
    assert screen.status == 2
    assert re.match(r"error: ZenML: it ended with status \d+; its log above has the reason", screen.lines[-1])


def test_a_run_answers_the_survey_of_a_home_that_was_made_before(first: RunSummary, settings: Settings) -> None:
    assert _survey(settings) == (0, {"finished_onboarding_survey": True})
    _forget_survey(settings)
    ensure_stack(settings, embedded=True)
    assert _survey(settings) == (0, {"finished_onboarding_survey": True})


@pytest.mark.slow
def test_the_survey_is_answered_for_the_user_of_the_compose_project(tmp_path: Path) -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["zenml"]
    text = json.dumps({name: value for name, value in service["environment"].items() if name != "<<"})
    environment = json.loads(text.replace("/var/lib/zenml", str(tmp_path)))
    environment["ZENML_DEFAULT_USER_PASSWORD"] = "a password"
    port = _free_ports(1)
    command = [sys.executable, "-m", *service["command"]]
    command = [word.replace("0.0.0.0", "127.0.0.1").replace("8080", str(port)) for word in command]
    page = Page("ZenML", "", "127.0.0.1", port, tuple(command), environment=environment)
    with started([page], None) as events:
        assert next(events).ended is None
        form = urllib.parse.urlencode({"username": "ratchet", "password": "a password"}).encode()
        token = _json(f"{page.url}/api/v1/login", form)["access_token"]
        user = _json(f"{page.url}/api/v1/current-user", authorization=f"Bearer {token}")
    assert user["name"] == "ratchet"
    assert user["body"]["email_opted_in"] is False
    assert user["metadata"]["user_metadata"] == {"finished_onboarding_survey": True}


def _json(url: str, body: bytes | None = None, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answered:
        return json.load(answered)


def _zenml_store(settings: Settings) -> Path:
    return settings.home / "zenml" / "local_stores" / "default_zen_store" / "zenml.db"


def _forget_survey(settings: Settings) -> None:
    """Bring the user into the state in which ZenML makes it."""
    with sqlite3.connect(_zenml_store(settings)) as connection:
        connection.execute("UPDATE user SET email_opted_in = NULL, user_metadata = NULL")


def _survey(settings: Settings) -> tuple[Any, Any]:
    with sqlite3.connect(_zenml_store(settings)) as connection:
        found = connection.execute("SELECT email_opted_in, user_metadata FROM user").fetchone()
    return found[0], json.loads(found[1])


def _free_ports(count: int) -> int:
    """The first of some ports that are free and follow each other.

    They are below the ports that the kernel gives to other processes, and each worker of pytest-xdist has its own; the
    random start is for test runs beside this one.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20_000 + 400 * (worker % 30)
    while True:
        port = random.randrange(first, first + 400 - count)
        if all(page_servers.is_free("127.0.0.1", port + number) for number in range(count)):
            return port
