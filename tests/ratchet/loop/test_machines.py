"""Two homes on one store, and the snapshots of one of them, which the other reads."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ratchet.config.files import load_config
from ratchet.data import snapshots
from ratchet.data.snapshots import describe_snapshot, load_snapshot, push_snapshot, snapshot_path
from ratchet.loop import machines
from ratchet.loop.machines import SHARED, differences, register, register_at_start
from ratchet.loop.snapshots import build_snapshot
from ratchet.monitoring.reports.version_rows import training_rows
from ratchet.settings import Settings
from ratchet.store.database import Store, open_store
from ratchet.store.tables import machines as table
from tests.conftest import ROOT
from tests.ratchet.monitoring.test_version_rows import registered

SECRET = "a secret of many characters"
TOGETHER = {
    "link_secret": SECRET,
    "mlflow_uri": "postgresql://ann:password@db/mlflow",
    "artifact_root": "s3://bucket/mlflow",
    "dvc_remote": "local",
}
MakeHome = Callable[..., Settings]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with configs and a remote in a folder, which both homes use."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"local\"']\n    url = ../remote\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "own.yaml").write_text("seed: 1\n")
    monkeypatch.setattr(machines, "CHECKOUT", tmp_path)
    monkeypatch.setattr(snapshots, "CHECKOUT", tmp_path)
    return tmp_path


@pytest.fixture
def make_home(root: Path, store_url: str) -> MakeHome:
    def make(name: str, **values: Any) -> Settings:
        return Settings(home=root / name, database_url=store_url, **values)

    return make


def test_homes_that_share_everything_do_not_differ(make_home: MakeHome) -> None:
    first, second = make_home("first", **TOGETHER), make_home("second", **TOGETHER)
    assert [machine.home for machine in register(first)] == [str(first.home)]
    found = register(second)
    assert [machine.home for machine in found] == [str(second.home), str(first.home)], "this one first"
    assert set(found[0].shared) == set(SHARED)
    assert differences(found) == []
    assert [machine.id for machine in register(second)] == [machine.id for machine in found], "a home registers once"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("link secret", {"link_secret": "another secret of many"}),
        ("MLflow", {"mlflow_uri": None}),
        ("artifacts", {"artifact_root": None}),
        ("artifacts", {"artifact_root": "s3://other"}),
        ("DVC remote", {"dvc_remote": None}),
        ("DVC remote", {"dvc_remote": "unknown"}),
    ],
)
def test_what_a_home_does_not_share_is_named_with_its_setting(
    name: str, change: dict[str, Any], make_home: MakeHome
) -> None:
    register(make_home("first", **TOGETHER))
    found = register(make_home("second", **TOGETHER | change))
    (line,) = differences(found)
    assert line.startswith(f"{name} ({SHARED[name]}): ")


def test_other_configs_are_a_difference(make_home: MakeHome, root: Path) -> None:
    register(make_home("first", **TOGETHER))
    (root / "configs" / "own.yaml").write_text("seed: 2\n")
    assert differences(register(make_home("second", **TOGETHER)))[0].startswith("configs (the folder configs/): ")


def test_no_secret_is_in_the_store(make_home: MakeHome) -> None:
    settings = make_home("first", **TOGETHER)
    register(settings)
    with open_store(settings).reading() as connection:
        rows = json.dumps([row._asdict() for row in connection.execute(sa.select(table))])
    assert SECRET not in rows
    assert "password" not in rows


def test_a_service_and_a_training_in_one_home_record_what_each_of_them_needs(make_home: MakeHome) -> None:
    without_secret = {**TOGETHER, "link_secret": None}
    register(make_home("first", **TOGETHER))
    training = make_home("second", **without_secret)
    assert differences(register(training)) == [], "training needs no link secret"
    register(training, serving=True)
    (line,) = differences(register(training))
    assert line.startswith("link secret (RATCHET_LINK_SECRET): ")


def test_a_home_that_has_not_registered_for_a_month_is_not_compared(make_home: MakeHome) -> None:
    first = make_home("first")
    register(first)
    with open_store(first).transaction() as connection:
        connection.execute(sa.update(table).values(seen_at=0.0))
    assert len(register(make_home("second"))) == 1


def test_without_a_shared_store_nothing_is_registered_or_created(tmp_path: Path) -> None:
    assert register(Settings(home=tmp_path / "home")) == []
    assert not (tmp_path / "home").exists()


def test_a_start_without_a_remote_beside_other_homes_is_a_warning(
    make_home: MakeHome, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    register_at_start(make_home("first"), keeps_rows=True)
    assert caplog.text == "", "one home needs no remote"
    register_at_start(make_home("second", dvc_remote="local"), keeps_rows=True)
    register_at_start(make_home("second"))
    assert caplog.text == ""
    register_at_start(make_home("second", dvc_remote=""), keeps_rows=True)
    assert "other homes use this store (" in caplog.text
    assert "RATCHET_DVC_REMOTE is not set" in caplog.text


def test_a_store_that_is_down_does_not_prevent_a_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    register_at_start(Settings(home=tmp_path, database_url="postgresql://127.0.0.1:1/none"), serving=True)
    assert "this home was not registered in the store" in caplog.text


def test_every_reader_of_a_snapshot_fetches_one_that_another_home_wrote(
    root: Path, mlflow_settings: Settings, tmp_path: Path
) -> None:
    config = load_config(ROOT / "configs" / "continuous_training.yaml", ["model=two_homes"])
    shared = {"dvc_remote": "local", "mlflow_uri": mlflow_settings.tracking_uri}
    first, second, third, fourth = (Settings(home=tmp_path / name, **shared) for name in "abcd")  # type: ignore[arg-type]
    store: Store = open_store(first)
    made = build_snapshot(first, config, store, 0)
    push_snapshot(first, made.version)
    version = registered(mlflow_settings, config, snapshot=made.version)
    expected = training_rows(first, version)
    for found, rows in zip(training_rows(second, version), expected, strict=True):
        assert found.equals(rows)
    assert load_snapshot(third, config, made.version)[0].equals(expected[0])
    assert describe_snapshot(fourth, made.version).reference_train == made.reference_train
    store.engine.dispose()


def test_no_other_module_opens_the_file_of_a_snapshot() -> None:
    """``snapshot_path`` may name a missing file: a reproduction writes its copy there, and forget lists them."""
    calls = {
        path.relative_to(ROOT).as_posix()
        for folder in ("ratchet", "pipelines", "steps", "commands", "serving")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == snapshot_path.__name__
    }
    others = {"ratchet/experiments/reproduction.py", "ratchet/loop/forget/snapshot_files.py"}
    assert calls == {"ratchet/data/snapshots.py", *others}
