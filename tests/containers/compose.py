"""The compose project of this repository on a real engine, apart from one that a person may have running."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMAGES = Path(__file__).resolve().parent / "images"
# What a hub would give, made from the machine's packages; each follows the contract of the image it stands for.
STAND_INS = ("postgres", "s3", "prometheus", "alertmanager")
SECRETS = (
    "POSTGRES_PASSWORD",
    "STORE_PASSWORD",
    "MLFLOW_DB_PASSWORD",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
    "ZENML_PASSWORD",
    "API_KEY",
    "METRICS_KEY",
    "LINK_SECRET",
    "GRAFANA_PASSWORD",
)
PORTS = ("API", "MLFLOW", "ZENML", "EVIDENTLY", "S3_CONSOLE", "PROMETHEUS", "ALERTMANAGER", "GRAFANA")
PROJECT = "ratchet-test"


def engine_is_there() -> bool:
    """Whether a Docker engine with compose answers."""
    if shutil.which("docker") is None:
        return False
    said = subprocess.run(["docker", "compose", "ls"], capture_output=True, timeout=30, check=False)
    return said.returncode == 0


class Project:
    """A compose project.

    Attributes
    ----------
    secrets: the values in its ``.env``, by name.
    ports: where services are published on 127.0.0.1, by the name in upper case.
    """

    def __init__(self, folder: Path) -> None:
        self.ports = {name: _free_port() for name in PORTS}
        commit = [str(ROOT / "deploy/git-commit")]
        self.commit = subprocess.run(commit, capture_output=True, text=True, check=True).stdout.strip()
        self.env_file = folder / "env"
        self._env = os.environ | {"COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_ENV_FILES": str(self.env_file)}
        self.new_secrets()

    def new_secrets(self) -> None:
        """Write the ``.env`` of a machine that has just been set up."""
        self.secrets = {name: secrets.token_hex(20) for name in SECRETS}
        values = {f"{name.upper()}_IMAGE": f"ratchet-test-{name}" for name in STAND_INS}
        values |= {"TRAINING_IMAGE": "ratchet-training:test", "SERVING_IMAGE": "ratchet-serving:test"}
        values |= {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        values |= {"GIT_COMMIT": self.commit} | self.secrets
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def compose(self, *words: str, check: bool = True, seconds: float = 900) -> str:
        """``docker compose …``; what it printed on standard output."""
        return self.run("docker", "compose", *words, check=check, seconds=seconds)

    def run(self, *words: str, check: bool = True, seconds: float = 900) -> str:
        """A command that talks to this project."""
        done = subprocess.run(
            words, cwd=ROOT, env=self._env, capture_output=True, text=True, timeout=seconds, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def once(self, *words: str) -> str:
        """``docker compose run training python run.py …``, as a person would type it."""
        return self.compose("run", "--rm", "-T", "training", "python", "run.py", *words)

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of a service's container."""
        name = self.compose("ps", "--all", "--quiet", service).split()[0]
        return dict(json.loads(self.run("docker", "inspect", name))[0])

    def running(self) -> list[str]:
        """The services that run."""
        return sorted(self.compose("ps", "--services", "--status", "running").split())

    def sh(self, service: str, script: str) -> str:
        """A shell script inside a service's container."""
        return self.compose("exec", "-T", service, "sh", "-c", script).strip()

    def stored(self) -> dict[str, object]:
        """What PostgreSQL, the bucket and ZenML hold: what a restart must not take from them."""
        runs = (
            "import sqlite3; store = sqlite3.connect('/var/lib/zenml/zenml.db');"
            " print(store.execute('select count(*) from pipeline_run').fetchone()[0])"
        )
        objects = self.compose("run", "--rm", "-T", "--no-deps", "bucket", "sh", "-c", "bucket save | tar -t")
        versions = self.sh("postgres", 'psql -qAt -U postgres -d mlflow -c "select count(*) from model_versions"')
        return {
            "objects": set(objects.splitlines()),
            "mlflow versions": int(versions),
            "zenml runs": int(self.sh("zenml", f'python -c "{runs}"')),
        } | {table: self.rows(table) for table in ("predictions", "feedback", "promotions", "training_runs")}

    def rows(self, table: str, where: str = "true") -> int:
        """How many rows a table of Ratchet's store has."""
        query = f"select count(*) from {table} where {where}"
        return int(self.sh("postgres", f'psql -qAt -U postgres -d ratchet -c "{query}"'))

    def up(self, *words: str) -> None:
        """Bring it up, and wait until the service answers."""
        self.compose("up", "--detach", *words)
        wait_for(lambda: self.served() is not None, "the service answers")

    def ask(self, route: str, body: Any = None, seconds: float = 10) -> Any:
        """The service's answer; None where there is none."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['API']}{route}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "x-api-key": self.secrets["API_KEY"]},
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            return None

    def served(self) -> str | None:
        """The version that answers; None while nobody does."""
        health = self.ask("/health")
        return str(health["version"]) if health and health.get("version") else None


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 300) -> Any:
    """Wait until a condition holds, and return what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"after {seconds:g} s it is still not so that {what}")


@contextmanager
def running(folder: Path) -> Iterator[Project]:
    """The project, built and up; nothing of it is left afterwards but its images."""
    for name in STAND_INS:
        _build(IMAGES / f"{name}.Dockerfile", f"ratchet-test-{name}", IMAGES)
    project = Project(folder)
    try:
        project.compose("down", "--volumes", "--timeout", "5", check=False)
        # As on a machine that has no image of ours yet.
        project.run("docker", "image", "rm", "--force", "ratchet-training:test", "ratchet-serving:test", check=False)
        project.compose("up", "--build", "--detach", seconds=2400)
        wait_for(lambda: project.served() is not None, "the service answers")
        yield project
    finally:
        project.compose("--profile", "monitoring", "down", "--volumes", "--timeout", "5", check=False)


def _build(dockerfile: Path, tag: str, context: Path) -> None:
    command = ["docker", "build", "--quiet", "--file", str(dockerfile), "--tag", tag, str(context)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
