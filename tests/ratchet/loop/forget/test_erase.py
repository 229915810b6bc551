"""An erasure in all places at once, continued after a kill at any place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.loop.forget.erase import Forgetting
from ratchet.loop.training_runs import TrainingRuns
from ratchet.settings import Settings
from ratchet.store import leases
from ratchet.store.archive import Archive, archive_lease
from ratchet.store.archive_columns import to_table
from ratchet.store.database import Store
from ratchet.store.erasures import Erasures
from ratchet.store.tables import drift_results
from tests.conftest import ROOT
from tests.homes import prepared
from tests.ratchet.loop.forget.person import (
    BY_MAIL,
    MAIL,
    SNAPSHOT_IDS,
    holders,
    in_archive,
    in_journal,
    in_store,
    snapshot,
)
from tests.store_rows import emptied, url_of

PLACES = (
    "erasure_collecting",
    "erasure_begun",
    "erasure_reports",
    "erasure_journal",
    "erasure_after_journal",
    "erasure_snapshot",
    "erasure_after_snapshots",
    "erasure_archive",
    "erasure_store",
    "erasure_after_store",
    "erasure_wiped",
)
_FORGET = """
from ratchet.loop.forget.erase import Forgetting
from ratchet.settings import load_settings, quiet_environment
from ratchet.store import erasures
from ratchet.store.database import open_store
from tests.ratchet.loop.forget.person import BY_MAIL
quiet_environment()
erasures.CHUNK = 3
settings = load_settings()
forgetting = Forgetting(settings, open_store(settings), "iris", [])
with forgetting.exclusive():
    forgetting.resume()
    found = forgetting.find(BY_MAIL)
    if found.ids:
        forgetting.forget(found, BY_MAIL, "ann")
"""


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=prepared(tmp_path / "home"), data_dir=tmp_path / "data")


def filled(settings: Settings, store: Store) -> set[str]:
    """The person's rows in every place; the ids."""
    snapshot(settings)
    return in_store(store) | in_journal(settings) | in_archive(settings) | SNAPSHOT_IDS


def test_the_features_are_removed_from_every_place(home: Settings, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{home.home}/ratchet.db")
    settings = home.model_copy(update={"database_url": url_of(store)})
    ids = filled(settings, store)
    forgetting = Forgetting(settings, store, "iris", [])
    with forgetting.exclusive():
        found = forgetting.find(BY_MAIL)
        assert set(found.ids) == ids
        assert found.places == {"journal": 2, "snapshots": 2, "archive": 1, "store": 5}
        erasure, _ = forgetting.forget(found, BY_MAIL, "ann")
    assert holders(tmp_path) == []
    assert (erasure.state, erasure.n_predictions, erasure.selection) == ("completed", len(ids), "values of mail")
    assert forgetting.find(BY_MAIL).ids == []
    store.engine.dispose()


def test_an_erasure_is_repeated_in_another_home(home: Settings, any_store: Store, tmp_path: Path) -> None:
    forgetting = Forgetting(home, any_store, "iris", [])
    in_archive(home)
    erasure, _ = forgetting.forget(forgetting.find(BY_MAIL), BY_MAIL, "ann")
    other = Settings(home=prepared(tmp_path / "other"), data_dir=tmp_path / "data")
    in_archive(other)
    repeated, _ = Forgetting(other, any_store, "iris", []).erase(erasure)
    assert holders(tmp_path) == []
    assert (repeated.id, repeated.n_predictions) == (erasure.id, 1)
    assert Erasures(any_store, "iris").history() == [repeated]


def test_training_and_retention_are_waited_for(home: Settings, any_store: Store) -> None:
    forgetting = Forgetting(home, any_store, "iris", [])
    with leases.held(any_store, TrainingRuns(any_store, "iris").lease_name), pytest.raises(StateError):
        forgetting.exclusive().__enter__()
    with forgetting.exclusive(), pytest.raises(StateError), archive_lease(any_store, wait=0.0):
        pass


def test_a_note_of_drift_that_names_a_value_is_replaced(home: Settings, store: Store) -> None:
    in_store(store)
    window = {"model": "iris", "version": "3", "kind": "production", "n_rows": 9, "detected": True, "share": 0.5}
    notes = [f"mail: 1 row with categories never seen ({MAIL!r})", "age: constant"]
    with store.transaction() as connection:
        connection.execute(
            sa.insert(drift_results).values(**window, report={"notes": notes, "share": 0.5}, created_at=0)
        )
    forgetting = Forgetting(home, store, "iris", [])
    forgetting.forget(forgetting.find(BY_MAIL), BY_MAIL, "ann")
    with store.reading() as connection:
        report = connection.scalar(sa.select(drift_results.c.report))
    assert report == {"notes": ["a note was removed: it named a value that was forgotten", notes[1]], "share": 0.5}


def test_a_note_in_the_archive_is_replaced_too(home: Settings, any_store: Store) -> None:
    in_store(any_store)
    window = {"id": 1, "model": "iris", "version": "3", "kind": "production", "n_rows": 9, "detected": True}
    window |= {"first_prediction": "a", "last_prediction": "b", "run_id": None, "share": 0.5, "created_at": 1e9}
    rows = [{**window, "report": {"notes": [f"mail: never seen ({MAIL!r})"], "share": 0.5}}]
    rows.append({**window, "id": 2, "report": {"notes": [], "share": 0.1}})
    file = Archive(home).write("drift_results", "iris", date(2001, 9, 9), "1", to_table(rows, drift_results))
    forgetting = Forgetting(home, any_store, "iris", [])
    forgetting.forget(forgetting.find(BY_MAIL), BY_MAIL, "ann")
    assert [row["report"]["notes"] for row in Archive(home).rows(file)] == [
        ["a note was removed: it named a value that was forgotten"],
        [],
    ]
    assert [row["share"] for row in Archive(home).rows(file)] == [0.5, 0.5]


def test_exports_and_the_rows_of_a_killed_report_are_deleted(home: Settings, any_store: Store) -> None:
    in_store(any_store)
    home.data_dir.mkdir()
    for name in ("ref_data.csv", "prod_data.csv"):
        (home.data_dir / name).write_text(f"mail\n{MAIL}\n")
    (home.home / ".report-x").mkdir()
    (home.home / ".report-x" / "current_features.parquet").write_text(MAIL)
    forgetting = Forgetting(home, any_store, "iris", [])
    _, notes = forgetting.forget(forgetting.find(BY_MAIL), BY_MAIL, "ann")
    assert len([note for note in notes if "_data.csv" in note]) == 2
    assert holders(home.data_dir) == []
    assert holders(home.home) == []


def killed_at(place: str, settings: Settings, store: Store) -> int:
    """Forget in a process that is killed at a place; return its exit status."""
    places = {"RATCHET_HOME": str(settings.home), "RATCHET_DATABASE_URL": url_of(store)}
    env = os.environ | places | {"RATCHET_DATA_DIR": str(settings.data_dir), "PYTHONPATH": str(ROOT)}
    env |= {"RATCHET_FAILPOINT": place}
    return subprocess.run([sys.executable, "-c", _FORGET], env=env, cwd=settings.home, check=False).returncode


def on_sqlite(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.db")


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_killed_erasure_is_continued(place: str, home: Settings, tmp_path: Path) -> None:
    store = on_sqlite(tmp_path)
    ids = filled(home, store)
    assert killed_at(place, home, store) == -signal.SIGKILL
    assert killed_at("", home, store) == 0
    assert holders(tmp_path) == []
    (erasure,) = Erasures(store, "iris").history()
    assert (erasure.state, erasure.n_predictions) == ("completed", len(ids))
    assert set(Erasures(store, "iris").ids(erasure)) == ids
    store.engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["erasure_collecting", "erasure_snapshot", "erasure_store"])
def test_a_killed_erasure_is_continued_on_postgresql(place: str, home: Settings, shared_postgresql: Store) -> None:
    store = emptied(shared_postgresql)
    ids = filled(home, store)
    assert killed_at(place, home, store) == -signal.SIGKILL
    assert killed_at("", home, store) == 0
    assert holders(home.home) == []
    (erasure,) = Erasures(store, "iris").history()
    assert (erasure.state, set(Erasures(store, "iris").ids(erasure))) == ("completed", ids)
