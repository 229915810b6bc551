"""The switch ``RATCHET_TEST_SERVICES=1``: how a home of a test finds its databases on the servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.settings import Settings
from tests.conftest import ROOT, new_database
from tests.startup import home_servers

STARTUP = ROOT / "tests" / "startup"
HERE = {
    "mlflow_uri": "postgresql://host/mlflow",
    "database_url": "postgresql://host/ratchet",
    "study_url": "postgresql://host/studies",
    "artifact_root": "s3://bucket/home",
}
PROGRAM = """
from ratchet.settings import load_settings
settings = load_settings()
print(settings.tracking_uri, settings.store_url, settings.study_store, settings.mlflow_artifacts)
"""


@pytest.fixture
def pointed(monkeypatch: pytest.MonkeyPatch) -> type[Settings]:
    """Settings of which a home's stores are on servers."""

    class Pointed(Settings):
        pass

    monkeypatch.setattr(home_servers, "servers_of", lambda home: dict(HERE))
    home_servers.use_servers(Pointed)
    return Pointed


def test_a_home_of_which_nothing_is_said_has_its_stores_on_the_servers(pointed: type[Settings], tmp_path: Path) -> None:
    settings = pointed(home=tmp_path)
    found = (settings.tracking_uri, settings.store_url, settings.study_store, settings.mlflow_artifacts)
    assert found == tuple(HERE.values())


def test_what_a_test_says_comes_first(pointed: type[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_DATABASE_URL", "sqlite:///its_own.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    settings = pointed(home=tmp_path, study_url="sqlite:///studies.db")
    assert (settings.tracking_uri, settings.store_url) == ("sqlite:///mlflow.db", "sqlite:///its_own.db")
    assert (settings.study_store, settings.mlflow_artifacts) == ("sqlite:///studies.db", HERE["artifact_root"])


def test_artifacts_are_left_to_an_mlflow_server(pointed: type[Settings], tmp_path: Path) -> None:
    assert pointed(home=tmp_path, mlflow_uri="http://127.0.0.1:5000").mlflow_artifacts is None


def test_processes_of_one_home_meet_in_databases_that_no_other_home_has(postgres: str, tmp_path: Path) -> None:
    with sa.create_engine(postgres).connect() as connection:
        there = set(connection.scalars(sa.text("SELECT datname FROM pg_database")))
    for template in home_servers.TEMPLATES.values():
        if template not in there:
            new_database(postgres, template)

    def start(home: str) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": str(STARTUP), "RATCHET_HOME": str(tmp_path / home)}
        env |= {home_servers.SERVER: postgres, home_servers.BUCKET: "bucket"}
        return subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)

    started = [start(home) for home in ("one", "one", "other")]
    one, again, other = (process.communicate(timeout=60)[0].split() for process in started)
    assert one == again
    assert not set(one) & set(other)
    for url in (*one[:3], *other[:3]):
        with sa.create_engine(url).connect() as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
    assert one[3].startswith("s3://bucket/")
