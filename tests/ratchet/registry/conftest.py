"""Real registries and stores that several processes share."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Self

import pytest

from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.tracking import DIGEST_TAG, connect
from tests.conftest import new_database
from tests.homes import prepared


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = prepared(tmp_path_factory.mktemp("promotion"))
    return Settings(home=home, models_dir=home / "models")


@pytest.fixture(scope="session")
def on_postgresql(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """MLflow and Ratchet's store on PostgreSQL, each in its own database."""
    return Settings(
        home=tmp_path_factory.mktemp("pg"),
        mlflow_uri=new_database(postgres, "mlflow"),
        database_url=new_database(postgres, "ratchet"),
    )


def register(settings: Settings, versions: int) -> str:
    """Register a new model with some versions, none promoted."""
    client, model = connect(settings), f"m_{uuid.uuid4().hex[:8]}"
    client.create_registered_model(model)
    for _ in range(versions):
        client.create_model_version(model, Path(settings.home / "none").as_uri(), tags={DIGEST_TAG: "d"})
    return model


class FileMirror:
    """A mirror that processes share: one file for each model."""

    name = "file"
    of_one_home = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, model: str) -> str | None:
        path = self._folder / model
        return path.read_text() if path.exists() else None

    def write(self, model: str, version: str) -> None:
        (self._folder / model).write_text(version)


class Watcher:
    """A thread that reads Production repeatedly until its block ends.

    Attributes
    ----------
    seen: what it resolved, each time.
    """

    def __init__(self, settings: Settings, model: str) -> None:
        self.seen: list[tuple[str, ...]] = []
        self._pointer = ProductionPointer(settings, model)
        self._done, self._has_begun, self._errors = threading.Event(), threading.Event(), list[BaseException]()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        try:
            while not self._done.is_set():
                self.seen.append(tuple(self._pointer.in_production()))
                self._has_begun.set()
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._has_begun.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._has_begun.wait(60), "the first read has not ended"  # it precedes what the block changes
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(60)
        assert self._errors == []
        assert self.seen
