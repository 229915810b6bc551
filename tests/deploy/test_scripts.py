"""The small programs of images and of compose, without an engine."""

from __future__ import annotations

import io
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
ASKED_FOR = set(re.findall(r"\$\{(\w+):\?", COMPOSE))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script that makes secrets."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "secrets", tmp_path / "deploy" / "secrets")
    return tmp_path


def secrets_of(checkout: Path) -> dict[str, str]:
    subprocess.run(["sh", "deploy/secrets"], cwd=checkout, check=True)
    return dict(line.split("=", 1) for line in (checkout / ".env").read_text().splitlines())


def test_every_secret_that_compose_asks_for_is_made_and_only_its_owner_may_read_it(checkout: Path) -> None:
    made = secrets_of(checkout)
    assert set(made) == ASKED_FOR
    assert all(re.fullmatch(r"[0-9a-f]{40}", value) for value in made.values())
    assert len(set(made.values())) == len(made)
    assert (checkout / ".env").stat().st_mode & 0o077 == 0


def test_a_secret_that_is_there_keeps_its_value_and_other_lines_stay(checkout: Path) -> None:
    (checkout / ".env").write_text("API_KEY=mine\nBIND_ADDRESS=0.0.0.0\nLINK_SECRET=\n")
    made = secrets_of(checkout)
    assert (made["API_KEY"], made["BIND_ADDRESS"]) == ("mine", "0.0.0.0")
    assert made["LINK_SECRET"]
    assert secrets_of(checkout) == made


def test_a_file_that_others_could_read_is_closed_before_secrets_go_in(checkout: Path) -> None:
    (checkout / ".env").touch(mode=0o644)
    secrets_of(checkout)
    assert (checkout / ".env").stat().st_mode & 0o077 == 0


def test_one_service_builds_an_image_that_several_use() -> None:
    """Two that export the same name at once fail on a machine that does not have it yet."""
    built = [service["image"] for service in yaml.safe_load(COMPOSE)["services"].values() if "build" in service]
    assert len(built) == len(set(built)) == 2


def test_a_last_line_without_its_end_is_not_joined_to_the_next(checkout: Path) -> None:
    (checkout / ".env").write_text("API_KEY=mine")
    assert secrets_of(checkout)["API_KEY"] == "mine"


def test_the_file_of_secrets_has_no_password_and_no_service_can_be_asked_from_outside_by_default() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:"), name
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|_KEY", variable):
                assert re.fullmatch(r"(\$\{\w+:\?[^}]*\},?)+", value), f"{name}: {variable}"


def test_the_object_store_publishes_its_console_alone() -> None:
    store = yaml.safe_load(COMPOSE)["services"]["s3"]
    assert store["command"][-2:] == ["--console-address", ":9001"]
    assert store["ports"] == ["${BIND_ADDRESS:-127.0.0.1}:${S3_CONSOLE_PORT:-8900}:9001"]


def test_the_how_to_has_every_address_and_the_variable_of_its_port() -> None:
    how_to = (ROOT / "docs" / "how-to" / "compose.md").read_text()
    published = re.findall(r"\$\{(\w+_PORT):-(\d+)\}", COMPOSE)
    assert {variable for variable, _ in published} >= {"API_PORT", "ZENML_PORT", "S3_CONSOLE_PORT"}
    for variable, port in published:
        assert f"`{variable}`" in how_to
        assert f"`http://127.0.0.1:{port}`" in how_to


def test_every_service_is_hardened() -> None:
    for name, service in yaml.safe_load(COMPOSE)["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert re.fullmatch(r"\$\{\w+_IMAGE:-[\w./-]+:[\w.-]+\}", service["image"]), name
        assert not service["image"].endswith(":latest}"), name


def test_images_carry_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"VERSION: ${{VERSION:-{version[1]}}}" in COMPOSE
    for name in ("training", "serving"):
        assert f"ARG VERSION={version[1]}\n" in (ROOT / f"deploy/docker/{name}.Dockerfile").read_text()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.headers.get("x-api-key") == "right" else 503)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_container_is_healthy_while_its_route_says_200() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"

    def healthy(*words: str) -> int:
        command = [sys.executable, str(ROOT / "deploy/docker/healthy.py"), *words]
        return subprocess.run(command, capture_output=True, check=False).returncode

    try:
        assert healthy(url, "x-api-key=right") == 0
        assert healthy(url) == 1
    finally:
        server.shutdown()
        server.server_close()
    assert healthy(url, "x-api-key=right") == 1


@pytest.mark.parametrize("script", ["deploy/restore", "deploy/backup"])
def test_a_wrong_folder_is_one_line_and_nothing_is_asked_of_docker(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / script), str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PATH": "/usr/bin:/bin", "DOCKER_HOST": "unix:///nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*\n", done.stderr)


class _Objects:
    """What of an S3 client the program uses, in memory."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects
        self.buckets: list[dict[str, str]] = []

    def list_buckets(self) -> dict[str, Any]:
        return {"Buckets": self.buckets}

    def create_bucket(self, Bucket: str) -> None:  # noqa: N803
        self.buckets.append({"Name": Bucket})

    def upload_fileobj(self, content: Any, bucket: str, key: str) -> None:
        assert {"Name": bucket} in self.buckets
        self.objects[key] = content.read()


def test_the_bucket_is_made_once_and_filled_from_an_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w|") as tar:
        entry = tarfile.TarInfo("mlflow/1/model.skops")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"four"))
    archive.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(archive))
    program = runpy.run_path(str(ROOT / "deploy/docker/bucket.py"))
    client = _Objects()
    program["load"](client)
    program["make"](client)
    assert client.buckets == [{"Name": "ratchet"}]
    assert client.objects == {"mlflow/1/model.skops": b"four"}
