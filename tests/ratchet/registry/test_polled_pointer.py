"""Polls of the production pointer that do not read the registry."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ratchet.errors import RegistryError
from ratchet.registry.polled_pointer import PolledPointer
from ratchet.settings import Settings


class Pointer:
    """A pointer that counts its reads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model = "iris"
        self.version: Any = SimpleNamespace(version="1")
        self.error: RegistryError | None = None
        self.reads = 0

    def current(self) -> Any:
        self.reads += 1
        if self.error:
            raise self.error
        return self.version


@pytest.fixture(params=["delete", "wal"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database in each of SQLite's ways to write, open as MLflow keeps it."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {request.param}")
        connection.execute("CREATE TABLE versions (stage TEXT)")
        connection.execute("INSERT INTO versions VALUES ('None')")
        yield connection


def let_time_pass(folder: Path) -> None:
    """Make the files of a database some seconds older."""
    for path in folder.glob("mlflow.db*"):
        earlier = path.stat().st_mtime - 5
        os.utime(path, (earlier, earlier))


def test_an_unchanged_registry_is_read_once(registry: sqlite3.Connection, tmp_path: Path) -> None:
    pointer = Pointer(Settings(home=tmp_path))
    polled = PolledPointer(pointer)  # type: ignore[arg-type]
    let_time_pass(tmp_path)
    assert [polled.current() for _ in range(5)] == [pointer.version] * 5
    assert pointer.reads == 1


def test_a_changed_registry_is_read_again(registry: sqlite3.Connection, tmp_path: Path) -> None:
    pointer = Pointer(Settings(home=tmp_path))
    polled = PolledPointer(pointer)  # type: ignore[arg-type]
    let_time_pass(tmp_path)
    polled.current()
    registry.execute("UPDATE versions SET stage = 'Prod'")
    pointer.version = SimpleNamespace(version="2")
    assert polled.current() == pointer.version


def test_a_registry_that_has_just_changed_is_read_until_a_later_change_would_show(
    registry: sqlite3.Connection, tmp_path: Path
) -> None:
    pointer = Pointer(Settings(home=tmp_path))
    polled = PolledPointer(pointer)  # type: ignore[arg-type]
    newest = time.time() + 60
    os.utime(tmp_path / "mlflow.db", (newest, newest))
    polled.current()
    pointer.version = SimpleNamespace(version="2")  # by a change within the same tick
    assert polled.current() == pointer.version


def test_an_error_is_raised_by_each_poll_until_the_registry_can_be_read(
    registry: sqlite3.Connection, tmp_path: Path
) -> None:
    pointer = Pointer(Settings(home=tmp_path))
    polled = PolledPointer(pointer)  # type: ignore[arg-type]
    let_time_pass(tmp_path)
    pointer.error = RegistryError("it is down")
    for _ in range(2):
        with pytest.raises(RegistryError):
            polled.current()
    pointer.error = None
    assert polled.current() == pointer.version


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:5000", "postgresql://mlflow@127.0.0.1/mlflow", "sqlite://", "sqlite:////no/such/file.db"]
)
def test_a_registry_without_a_file_is_read_each_time(uri: str, tmp_path: Path) -> None:
    pointer = Pointer(Settings(home=tmp_path, mlflow_uri=uri))
    polled = PolledPointer(pointer)  # type: ignore[arg-type]
    for _ in range(3):
        polled.current()
    assert pointer.reads == 3
