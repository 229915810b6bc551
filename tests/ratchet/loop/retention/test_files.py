"""Retention of the files of a home, and what registered versions, runs and Production still need of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.data.snapshots import Redaction
from ratchet.errors import RegistryError
from ratchet.loop.retention import files
from ratchet.loop.retention.retain import plan
from ratchet.settings import Settings
from ratchet.store.database import Store
from ratchet.store.tables import training_runs
from ratchet.tracking import connect
from tests.ratchet.loop.retention.aged import DAY, keep, promoted, run_of

OLD = 20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def aged_file(path: Path, days: float = OLD) -> Path:
    """A file that was last used some days ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("content")
    at = time.time() - days * DAY
    os.utime(path, (at, at))
    return path


def aged_package(settings: Settings, digest: str, days: float = OLD) -> Path:
    """A cached package that was last loaded some days ago."""
    folder = settings.home / "packages" / digest
    aged_file(folder / "details.json")
    at = time.time() - days * DAY
    os.utime(folder, (at, at))
    return folder


def test_snapshots_that_something_refers_to_stay(
    settings: Settings, any_store: Store, mlflow_settings: Settings, model_name: str
) -> None:
    own = settings.model_copy(update={"mlflow_uri": mlflow_settings.tracking_uri})
    paths = {name: aged_file(settings.home / "snapshots" / f"{name}.parquet") for name in ("none", "a", "b", "c")}
    young = aged_file(settings.home / "snapshots" / "young.parquet", 1)
    client = connect(own)
    client.create_registered_model(model_name)
    client.create_model_version(model_name, source="file:///nowhere", run_id=None, tags={"ratchet.snapshot": "a"})
    run_of(any_store, 1, "open", 30, snapshot="b")
    run_of(any_store, 2, "refused", 30, snapshot="none")
    promoted(any_store, "3", 30, data_version="c")
    outcome = keep(own, any_store)
    assert [path.exists() for path in (*paths.values(), young)] == [False, True, True, True, True]
    assert [(moved.kind, moved.rows) for moved in outcome.moved] == [("snapshots", 1)]
    with any_store.transaction() as connection:
        connection.execute(sa.update(training_runs).values(state="failed"))
    keep(own, any_store)
    assert [path.exists() for path in paths.values()] == [False, True, False, True]


def test_the_remaining_rows_of_a_forgotten_snapshot_stay(
    settings: Settings, any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = aged_file(settings.home / "snapshots" / "rest.parquet")
    redaction = Redaction(replaced_by="rest", rows=1, erasure=1)
    aged_file(settings.home / "snapshots" / "old.redacted.json").write_text(redaction.model_dump_json())
    monkeypatch.setattr(files, "registered_models", lambda _: ["iris"])
    monkeypatch.setattr(files, "_snapshots_of_versions", lambda *_: {"old"})
    keep(settings, any_store)
    assert rest.exists()


def test_snapshots_stay_while_the_registry_is_unknown(
    settings: Settings, any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aged_file(settings.home / "snapshots" / "a.parquet")
    keep(settings, any_store)  # there is no registry: it is elsewhere

    def unreachable(_: Settings) -> list[str]:
        raise RegistryError("MLflow is unreachable")

    monkeypatch.setattr(files, "registered_models", unreachable)
    outcome = keep(settings, any_store)
    assert (path.exists(), outcome.notes) == (True, ["snapshots stay: MLflow is unreachable"])


def test_packages_of_production_and_its_predecessor_stay(settings: Settings, any_store: Store) -> None:
    for days, version in ((50, "1"), (40, "2"), (30, "3")):
        promoted(any_store, version, days, digest=f"digest{version}")
    folders = [aged_package(settings, f"digest{version}") for version in range(1, 4)]
    young = aged_package(settings, "other", 1)
    keep(settings, any_store)
    assert [folder.exists() for folder in (*folders, young)] == [False, True, True, True]


def test_old_reports_and_logs_go_without_the_newest_report(settings: Settings, any_store: Store) -> None:
    reports = [aged_file(settings.home / "evidently" / "p" / "snapshots" / f"{days}.json", days) for days in (30, 20)]
    log, left = aged_file(settings.home / "watch" / "run-1.log"), aged_file(settings.home / ".report-x" / "job.json")
    os.utime(left.parent, (0, 0))
    young = aged_file(settings.home / "watch" / "run-2.log", 1)
    outcome = keep(settings, any_store)
    assert [path.exists() for path in (*reports, log, left.parent, young)] == [False, True, False, False, True]
    assert {moved.kind: moved.rows for moved in outcome.moved} == {"reports": 1, "logs": 2}


def test_files_that_cannot_be_removed_are_noted(
    settings: Settings, any_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged_file(settings.home / "watch" / "run-1.log")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "run-1.log")

    monkeypatch.setattr(files, "remove", refused)
    outcome = keep(settings, any_store)
    assert (outcome.moved, outcome.notes) == ([], ["logs stay: [Errno 13] Permission denied: 'run-1.log'"])


def test_a_plan_removes_no_file(settings: Settings, any_store: Store) -> None:
    log = aged_file(settings.home / "watch" / "run-1.log")
    outcome = plan(settings.model_copy(update={"retention_days": 10.0}), any_store)
    assert ([(moved.kind, moved.rows, moved.size) for moved in outcome.moved], log.exists()) == ([("logs", 1, 7)], True)


def test_without_a_limit_of_age_files_stay(settings: Settings, any_store: Store) -> None:
    log = aged_file(settings.home / "watch" / "run-1.log")
    keep(settings, any_store, retention_days=None, retention_rows=1)
    assert log.exists()
