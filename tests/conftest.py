"""What tests share: one home for the session, since ZenML's and MLflow's stores cost seconds to make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import sqlalchemy as sa

from pipelines.runner import RunSummary
from pipelines.startup import cached_package_scan, collect_garbage_rarely
from ratchet.settings import Settings, load_settings, quiet_environment
from tests import homes, services
from tests.postgres import binaries, running

ROOT = Path(__file__).resolve().parent.parent
_OURS = ("RATCHET_", "MLFLOW_", "ZENML_")
# The same examples in each run, and no limits of time, which a pause of the machine exceeds.
hypothesis.settings.register_profile(
    "ratchet", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("ratchet")


def pytest_configure(config: pytest.Config) -> None:
    """Point every store at a folder of this process, before anything imports ZenML."""
    config.addinivalue_line("markers", f"sqlite(why): about SQLite itself, left out with {services.SWITCH}=1")
    with_services = services.in_use() or os.environ.get(services.SWITCH, "0") != "0"
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        del os.environ[name]
    main = sys.modules["__main__"]
    if not hasattr(main, "__file__"):  # in a worker of pytest-xdist; ZenML takes its source root from there
        main.__file__ = str(ROOT / "run.py")
    folder = Path(tempfile.mkdtemp(prefix="ratchet-tests-"))
    os.environ["RATCHET_HOME"] = f"{folder}/home"
    os.environ["RATCHET_MODELS_DIR"] = f"{folder}/models"
    os.environ["RATCHET_DATA_DIR"] = f"{folder}/data"
    (folder / "template").mkdir()
    os.environ.setdefault(homes.TEMPLATE, str(folder / "template"))
    quiet_environment()
    collect_garbage_rarely()
    if with_services:
        config.add_cleanup(services.started())
        config.pluginmanager.register(services.Plugin())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the variants on PostgreSQL: make test leaves them to make test-services and make test-slow."""
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "postgres" in getattr(item, "fixturenames", ()) or {"postgresql", "on_postgresql"} & {*map(str, values)}:
            item.add_marker("services")
    if "zenml" in sys.modules:  # before a fixture names the home, ZenML would work in the store of the user
        raise pytest.UsageError("a test module imports ZenML, directly or through steps: import it inside the test")


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(Path(os.environ["RATCHET_HOME"]).parent, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def one_package_scan() -> Iterator[None]:
    """Scan the installed packages once for all runs of this process; a scan takes as long as a step."""
    with cached_package_scan():
        yield


@pytest.fixture(scope="session", autouse=True)
def no_signal_to_all() -> Iterator[None]:
    """Refuse a signal to the group of the tests, or to all processes: it would end the run of the tests without a word.

    Process 0 is the sender's own group for the kernel, and a process that was looked up and not found is easily 0.
    """
    kill, kill_group = os.kill, os.killpg

    def to_process(pid: int, number: int) -> None:
        if pid <= 0:
            raise ValueError(f"a signal to process {pid} reaches the tests themselves")
        kill(pid, number)

    def to_group(group: int, number: int) -> None:
        if group in (0, 1, os.getpgrp()):
            raise ValueError(f"a signal to group {group} reaches the tests themselves")
        kill_group(group, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", to_process)
        patch.setattr(os, "killpg", to_group)
        yield


@pytest.fixture(autouse=True)
def own_tracking_uri() -> Iterator[None]:
    """MLflow and ZenML write the tracking URI into the environment; the next test must not inherit it."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Where this session's stores are."""
    settings = load_settings()
    homes.prepared(settings.home)
    return settings


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with an empty home of the test's own."""
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(tmp_path / "models"))
    return load_settings()


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(settings: Settings) -> Cli:
    """The command line, as a process of its own in the session's home."""

    def run(*words: str, prefix: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, str(ROOT / "run.py"), *words]
        inherited = of_no_home() if "RATCHET_HOME" in env else dict(os.environ)
        return subprocess.run(
            command, cwd=ROOT, env=inherited | env, capture_output=True, text=True, timeout=240, check=False
        )

    return run


@pytest.fixture
def here(settings: Settings, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in this process and the session's home, without the seconds that imports take."""
    import run as command_line

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["run.py", *words])
        try:
            command_line.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        output, errors = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, output, errors)

    return run


def of_no_home() -> dict[str, str]:
    """The environment without what MLflow and ZenML have left in this process of other homes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ZENML_", "MLFLOW_TRACKING"))}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server's maintenance database."""
    if services.in_use():
        yield services.server()
        return
    if binaries() is None:
        pytest.skip("PostgreSQL's binaries are not on this machine")
    with running() as url:
        yield url


def new_database(server: str, name: str) -> str:
    """Make an empty database on a server; its URL."""
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return server.rsplit("/", 1)[0] + "/" + name


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    """A model name that no other test has."""
    return "m_" + re.sub(r"\W", "_", request.node.name)[:60]


@pytest.fixture(scope="session")
def first(settings: Settings) -> RunSummary:
    """The baseline, trained once for all tests that only look at it."""
    from tests.training_runs import config_for, train_in

    return train_in(settings, config_for("iris"))
