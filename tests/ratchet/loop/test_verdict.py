"""The verdict of status: healthy, or what is wrong and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ratchet.loop import production_status
from ratchet.loop.heartbeat import beat
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from ratchet.store.tables import drift_results, heartbeats, quality_results, training_runs
from ratchet.tracking import connect, ensure_experiment

Insert = Callable[..., None]


@pytest.fixture
def pointer(mlflow_settings: Settings, model_name: str, tmp_path: Path) -> ProductionPointer:
    """Version 1 of two in Production."""
    client = connect(mlflow_settings)
    client.create_registered_model(model_name)
    run = client.create_run(ensure_experiment(mlflow_settings, model_name)).info.run_id
    for _ in range(2):
        client.create_model_version(model_name, tmp_path.as_uri(), run_id=run)
    pointer = ProductionPointer(mlflow_settings, model_name)
    pointer.promote("1", "better", "ana")
    return pointer


@pytest.fixture
def insert(pointer: ProductionPointer) -> Insert:
    """Inserts a row of the model into a table of the store."""

    def run(table: sa.Table, **values: Any) -> None:
        with pointer.store.transaction() as connection:
            connection.execute(sa.insert(table).values(model=pointer.model, created_at=time.time(), **values))

    return run


def verdict(pointer: ProductionPointer) -> dict[str, Any]:
    found: dict[str, Any] = production_status.status(pointer.settings, pointer)["verdict"]
    assert found["healthy"] is (found["problems"] == [])
    return found


def test_a_model_without_a_problem_is_healthy_and_the_absence_of_a_watcher_is_noted(pointer: ProductionPointer) -> None:
    assert verdict(pointer) == {
        "healthy": True,
        "problems": [],
        "notes": ["no watcher has looked yet: start one with python run.py watch --config FILE"],
    }
    beat(pointer.store, pointer.model, 60.0)
    assert verdict(pointer) == {"healthy": True, "problems": [], "notes": []}


def test_a_watcher_that_stopped_is_a_problem(pointer: ProductionPointer) -> None:
    beat(pointer.store, pointer.model, 60.0)
    with pointer.store.transaction() as connection:
        mine = heartbeats.c.model == pointer.model
        connection.execute(sa.update(heartbeats).where(mine).values(looked_at=time.time() - 7300))
    assert verdict(pointer)["problems"] == [
        "the watcher has not looked for 2 h: start it again with python run.py watch --config FILE"
    ]


def test_without_a_version_in_production_status_says_what_to_do(mlflow_settings: Settings, model_name: str) -> None:
    connect(mlflow_settings).create_registered_model(model_name)
    found = production_status.status(mlflow_settings, ProductionPointer(mlflow_settings, model_name))
    assert found["in_production"] is None
    assert found["verdict"]["problems"] == [
        "nothing is in Production: train a model, or promote a version with python run.py promote VERSION"
        f" --model {model_name}"
    ]


def test_a_stage_that_was_changed_outside_is_left_to_the_doctor(pointer: ProductionPointer) -> None:
    connect(pointer.settings).set_registered_model_alias(pointer.model, "champion", "2")
    assert "run.py doctor" in verdict(pointer)["problems"][0]


def test_windows_of_the_version_in_production_count_and_those_of_others_do_not(
    pointer: ProductionPointer, insert: Insert
) -> None:
    def windows(version: str, at: int) -> None:
        drift = {"kind": "production", "share": 0.6, "detected": True, "n_rows": 200, "report": {}}
        insert(drift_results, version=version, **_defaults(drift_results, drift, at))
        quality = {"metric": "f1_macro", "value": 0.5, "low": 0.4, "high": 0.6, "dropped": True, "n_rows": 100}
        insert(quality_results, version=version, **_defaults(quality_results, quality | {"report": {}}, at))

    windows("2", 1)
    assert verdict(pointer)["healthy"]
    windows("1", 2)
    quality, drift = verdict(pointer)["problems"]
    assert quality.startswith("f1_macro fell to 0.5 on 100 labels: train again, or return to")
    assert drift.startswith("60% of the columns drift in 200 rows: python run.py report")


def test_a_failed_run_is_a_problem_until_a_newer_one_ended(pointer: ProductionPointer, insert: Insert) -> None:
    def run(state: str, at: int) -> None:
        values = {
            "watermark": at,
            "config_hash": "c",
            "state": state,
            "reason": "r",
            "outcome": "no data",
            "attempts": 1,
        }
        insert(training_runs, **_defaults(training_runs, values, at))

    run("failed", 1)
    assert "failed (no data): fix the cause" in verdict(pointer)["problems"][0]
    run("refused", 2)
    assert verdict(pointer)["healthy"]


def _defaults(table: sa.Table, values: dict[str, Any], at: int) -> dict[str, Any]:
    """Values for the columns that a row needs and a test does not care about."""
    needed = [
        column
        for column in table.columns
        if not column.nullable and column.name not in {*values, "id", "model", "created_at", "version"}
    ]
    plain = {int: at, float: 0.0, str: f"{at}", bool: False, dict: {}, list: []}
    return {column.name: plain[column.type.python_type] for column in needed} | values
