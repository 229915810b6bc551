"""The heartbeat of a watcher in the store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.loop.decisions import Decider
from ratchet.loop.heartbeat import beat, last_beat
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.store.tables import heartbeats
from tests.fitted import loop_config


def test_without_a_check_there_is_no_heartbeat(store: Store) -> None:
    assert last_beat(store, "iris") is None


def test_a_heartbeat_replaces_the_last_one(store: Store) -> None:
    began = time.time()
    for interval in (0.0, 10.0, 2.5):
        beat(store, "iris", interval)
    found = last_beat(store, "iris")
    assert found.interval == 2.5
    assert began - 1 <= found.at <= time.time() + 1
    with store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(heartbeats)) == 1


def test_a_single_check_does_not_replace_the_heartbeat_of_a_continuous_watcher(store: Store) -> None:
    beat(store, "iris", 10.0)
    first = last_beat(store, "iris")
    beat(store, "iris", 0.0)
    assert last_beat(store, "iris") == first


def test_the_start_of_a_watcher_does_not_replace_the_heartbeat_of_another(store: Store) -> None:
    beat(store, "iris", 10.0, checked=False)
    first = last_beat(store, "iris")
    assert first.interval == 10.0
    beat(store, "iris", 20.0, checked=False)
    assert last_beat(store, "iris") == first


def test_the_start_of_a_watcher_replaces_the_heartbeat_of_a_single_check(store: Store) -> None:
    beat(store, "iris", 0.0)
    beat(store, "iris", 10.0, checked=False)
    assert last_beat(store, "iris").interval == 10.0


def test_each_model_has_its_own_heartbeat(store: Store) -> None:
    beat(store, "iris", 10.0)
    beat(store, "wine", 60.0)
    assert last_beat(store, "iris").interval == 10.0


def test_a_heartbeat_that_cannot_be_stored_is_logged_once_and_decisions_continue(
    mlflow_settings: Settings, tmp_path: Path, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"database_url": f"sqlite:///{tmp_path}/store.db", "store_timeout": 0.1}
    settings = mlflow_settings.model_copy(update=own)
    decider = Decider(loop_config(f"model={model}"), settings)
    other = open_store(settings)
    with other.transaction():
        decider.beat(10.0)
        decider.beat(10.0)
        line = decider.decide().line
    assert caplog.text.count(f"the heartbeat of the watcher of {model} was not stored") == 1
    assert "no champion yet" in line
    decider.beat(10.0)
    assert last_beat(other, model) is not None
    other.engine.dispose()
