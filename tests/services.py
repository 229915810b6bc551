"""One switch for the whole suite: ``RATCHET_TEST_SERVICES=1`` has every test use PostgreSQL and S3.

Without it a home keeps its stores in SQLite files and folders. With it one PostgreSQL server and one S3 server are
started for the session, and each home that a test makes has databases and a place in the bucket of its own there.
ZenML's store stays in the home, since it knows SQLite and MySQL only.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import postgres, s3
from tests.startup.home_servers import BUCKET, SERVER, TEMPLATES, use_servers

SWITCH = "RATCHET_TEST_SERVICES"
_STARTUP = Path(__file__).resolve().parent / "startup"
# MLflow keeps a pool for each home, as long as a process lives.
_CONNECTIONS = 2000


def in_use() -> bool:
    """Whether this session's stores are on PostgreSQL and S3."""
    return SERVER in os.environ


def server() -> str:
    """The URL of the session's PostgreSQL."""
    return os.environ[SERVER]


def started() -> Callable[[], None]:
    """Start both servers and point this process, and all that it starts, to them; call the result to stop them.

    A worker of pytest-xdist inherits the servers of the process that started it.

    Raises
    ------
    pytest.UsageError: one of them cannot be started here.
    """
    stack = ExitStack()
    if not in_use():
        try:
            os.environ.update(stack.enter_context(_running()))
        except s3.NoServerError as error:
            raise pytest.UsageError(f"{SWITCH} needs an S3 server: {error}") from None
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_STARTUP), os.environ.get("PYTHONPATH")]))
    os.environ["MLFLOW_S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
    from ratchet.settings import Settings

    use_servers(Settings)
    _require_servers()
    return stack.close


def _require_servers() -> None:
    """Show that settings lead to the servers, here and in a process of its own: else all would pass on SQLite."""
    from ratchet.settings import load_settings

    asked = [sys.executable, "-c", "from ratchet.settings import load_settings; print(load_settings().store_url)"]
    there = subprocess.run(asked, cwd=_STARTUP.parent.parent, capture_output=True, text=True, check=True).stdout
    for url in (load_settings().store_url, there):
        if not url.startswith("postgresql"):
            raise pytest.UsageError(f"{SWITCH}: the settings still lead to {url.strip()}")


@contextmanager
def _running() -> Iterator[dict[str, str]]:
    """Both servers, the one beside the other; the variables that lead to them."""
    if postgres.binaries() is None:
        raise pytest.UsageError(f"{SWITCH} needs PostgreSQL's server (Debian: apt install postgresql)")
    s3.require()
    bucket = "ratchet"
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        store = pool.submit(stack.enter_context, s3.running(bucket))
        try:
            url = stack.enter_context(postgres.running(f"max_connections={_CONNECTIONS}"))
            _make_templates(url)
        finally:
            store.exception()
        yield {**store.result(), SERVER: url, BUCKET: bucket}


def _make_templates(url: str) -> None:
    """The databases that every home's are copied from, with their tables in them."""
    import sqlalchemy as sa
    from mlflow.store.db.utils import _initialize_tables

    from ratchet.store.database import Store
    from tests.conftest import new_database

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    engine = sa.create_engine(new_database(url, TEMPLATES["mlflow"]))
    _initialize_tables(engine)
    engine.dispose()
    Store(new_database(url, TEMPLATES["ratchet"])).engine.dispose()


class Plugin:
    """Leaves out tests of SQLite itself, and lists them with their reasons at the end of the run."""

    def __init__(self) -> None:
        self._left_out: Counter[str] = Counter()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        marked = [item for item in items if item.get_closest_marker("sqlite")]
        for item in marked:
            mark = item.get_closest_marker("sqlite")
            assert mark is not None
            self._left_out[f"{item.nodeid.split('[')[0]}: {mark.args[0]}"] += 1
        if marked:
            config.hook.pytest_deselected(items=marked)
            items[:] = [item for item in items if item not in set(marked)]
        if hasattr(config, "workeroutput"):  # in a process of pytest-xdist, which sends this to the one that reports
            config.workeroutput["left_out"] = dict(self._left_out)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._left_out.update(node.workeroutput["left_out"] if not self._left_out else {})

    def pytest_report_header(self) -> str:
        return f"services: PostgreSQL at {os.environ[SERVER]}, S3 at {os.environ['AWS_ENDPOINT_URL']}"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._left_out:
            terminalreporter.section("left out on PostgreSQL and S3")
            for line, count in sorted(self._left_out.items()):
                terminalreporter.write_line(f"{line} ({count})" if count > 1 else line)
