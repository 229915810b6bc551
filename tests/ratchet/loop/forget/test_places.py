"""Each place of a home finds a person's rows, and removes their features once."""

from __future__ import annotations

import threading
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from ratchet.data import snapshots
from ratchet.data.fingerprint import file_version
from ratchet.data.snapshots import (
    PART,
    ROW,
    fetch_snapshot,
    production_rows,
    push_snapshot,
    redact_snapshot,
    redaction_of,
    remaining_version,
    snapshot_path,
)
from ratchet.errors import DataError, StateError
from ratchet.inference.journal import Journal
from ratchet.loop.forget.archived_rows import ArchivedRows
from ratchet.loop.forget.journal_rows import JournalRows
from ratchet.loop.forget.places import Forgotten
from ratchet.loop.forget.selection import Selection
from ratchet.loop.forget.snapshot_files import SnapshotFiles
from ratchet.loop.forget.stored_rows import StoredRows
from ratchet.settings import Settings
from ratchet.store.archive import Archive
from ratchet.store.database import Store
from ratchet.store.prediction_rows import PredictionRows, Span, find_prediction
from ratchet.store.tables import training_runs
from tests.ratchet.loop.forget.person import (
    BY_MAIL,
    SNAPSHOT_IDS,
    holders,
    in_archive,
    in_journal,
    in_store,
    of_ada,
    of_other,
    snapshot,
)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    return settings


def forgotten(ids: set[str]) -> Forgotten:
    return Forgotten(1, frozenset(ids))


def by_ids(ids: set[str]) -> Selection:
    return Selection(ids=frozenset(ids))


def test_rows_of_the_store_are_found_by_values_and_by_ids(store: Store) -> None:
    ids, place = in_store(store), StoredRows(store, "iris")
    assert place.find(BY_MAIL) == place.find(by_ids({*ids, "unknown"})) == ids
    assert StoredRows(store, "wine").find(BY_MAIL) == set()


def test_rows_of_the_store_lose_their_features_alone(store: Store) -> None:
    ids, place = in_store(store), StoredRows(store, "iris")
    with store.reading() as connection:
        before = {row["id"]: row for row in PredictionRows(connection).between(Span())}
    for _ in range(2):
        place.erase(forgotten(ids))
    with store.reading() as connection:
        after = {row["id"]: row for row in PredictionRows(connection).between(Span())}
    assert after == {found: row | ({"features": None} if found in ids else {}) for found, row in before.items()}
    assert place.find(BY_MAIL) == place.find(by_ids(ids)) == set()


def test_the_rows_of_a_journal_are_forgotten_in_the_store_and_the_set_aside_ones_removed(
    home: Settings, store: Store
) -> None:
    ids, place, stored = in_journal(home), JournalRows(home, store, "iris"), StoredRows(store, "iris")
    assert place.find(BY_MAIL) | stored.find(BY_MAIL) == ids
    notes = place.erase(forgotten(ids))
    stored.erase(forgotten(ids))
    assert holders(home.home) == []
    assert notes == [f"1 damaged entries in {home.home}/journal/*.bad"]
    bad = (home.home / "journal" / "0.bad").read_bytes()
    assert bad.count(b"\n") == 3
    assert b"71@example.org" in bad
    assert find_prediction(store, of_other(61)["id"]) == of_other(61)


def test_a_file_of_set_aside_rows_without_others_is_removed(home: Settings, any_store: Store) -> None:
    in_journal(home)
    path = home.home / "journal" / "0.bad"
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    JournalRows(home, any_store, "iris").erase(forgotten({of_ada(70)["id"]}))
    assert not path.exists()


def test_a_segment_that_a_service_holds_is_waited_for(home: Settings, any_store: Store) -> None:
    journal, place = Journal(home.home / "journal"), JournalRows(home, any_store, "iris", patience=0.3)
    journal.append([of_ada(60)])
    ids = {of_ada(60)["id"]}
    with pytest.raises(StateError, match=r"the service has not moved its rows .* run the same command again"):
        place.erase(forgotten(ids))
    release = threading.Timer(0.2, journal.release)
    release.start()
    JournalRows(home, any_store, "iris").erase(forgotten(ids))
    StoredRows(any_store, "iris").erase(forgotten(ids))
    release.join()
    assert holders(home.home) == []


@pytest.mark.parametrize("age", [36.5, "36"], ids=["typed", "json"])
def test_rows_of_the_archive_lose_their_features_alone(home: Settings, age: float | str) -> None:
    ids, place = in_archive(home, age), ArchivedRows(home, "iris")
    (file,) = Archive(home).files()
    before = Archive(home).rows(file)
    assert place.find(BY_MAIL) == place.find(by_ids(ids)) == ids
    for _ in range(2):
        place.erase(forgotten(ids))
    assert Archive(home).rows(file) == [before[0] | {"features": None}, before[1]]
    assert place.find(BY_MAIL) == place.find(by_ids(ids)) == set()
    assert holders(home.home) == []


def test_a_snapshot_is_replaced_by_one_without_the_rows(home: Settings, any_store: Store) -> None:
    old, place = snapshot(home), SnapshotFiles(home, any_store, "iris")
    before = pd.read_parquet(snapshot_path(home, old))
    assert place.find(BY_MAIL) == place.find(by_ids({*SNAPSHOT_IDS, "0", "1"})) == SNAPSHOT_IDS
    for _ in range(2):
        place.erase(forgotten(SNAPSHOT_IDS))
    new = remaining_version(home, old)
    path = snapshot_path(home, new)
    assert file_version(path) == new != old
    kept = before[~before[ROW].isin(SNAPSHOT_IDS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(path), kept)
    assert pd.read_parquet(path).attrs == before.attrs
    assert not snapshot_path(home, old).exists()
    assert place.find(BY_MAIL) == set()
    with pytest.raises(DataError, match=f"2 of its rows were forgotten .*; the remaining rows are the snapshot {new}"):
        fetch_snapshot(home, old)


def test_a_snapshot_of_another_model_is_searched_for_that_model_alone(home: Settings, any_store: Store) -> None:
    run = {"watermark": 1, "config_hash": "c", "state": "refused", "reason": "r", "attempts": 1, "created_at": 1.0}
    with any_store.transaction() as connection:
        connection.execute(sa.insert(training_runs).values(**run, model="other", snapshot=snapshot(home)))
    iris, other = (SnapshotFiles(home, any_store, model) for model in ("iris", "other"))
    assert (iris.find(BY_MAIL), other.find(BY_MAIL)) == (set(), SNAPSHOT_IDS)
    other.erase(forgotten({min(SNAPSHOT_IDS)}))
    assert (iris.find(BY_MAIL), other.find(BY_MAIL)) == (set(), {max(SNAPSHOT_IDS)})


def test_a_snapshot_that_was_redacted_twice_leads_to_the_newest(home: Settings) -> None:
    first = snapshot(home)
    second = redact_snapshot(home, first, sorted(SNAPSHOT_IDS)[:1], 1)
    assert second is not None
    third = redact_snapshot(home, second, sorted(SNAPSHOT_IDS)[1:], 2)
    found = redaction_of(home, first)
    assert found is not None
    assert (found.replaced_by, found.rows, found.erasure) == (third, 2, 2)
    assert remaining_version(home, str(third)) == third


def test_a_snapshot_on_the_remote_is_replaced_too(
    home: Settings, any_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"local\"']\n    url = ../remote\n")
    monkeypatch.setattr(snapshots, "CHECKOUT", tmp_path)
    shared = home.model_copy(update={"dvc_remote": "local"})
    old = snapshot(shared)
    push_snapshot(shared, old)
    assert holders(tmp_path / "remote") == [old[2:]]
    SnapshotFiles(shared, any_store, "iris").erase(forgotten(SNAPSHOT_IDS))
    assert holders(tmp_path) == []
    another = Settings(home=tmp_path / "another", dvc_remote="local")
    assert fetch_snapshot(another, remaining_version(shared, old)).is_file()


def test_a_snapshot_of_an_earlier_release_is_named(home: Settings, any_store: Store) -> None:
    path = snapshot_path(home, snapshot(home))
    pd.read_parquet(path).drop(columns=ROW).to_parquet(path)
    assert production_rows(path) is None
    place = SnapshotFiles(home, any_store, "iris")
    assert place.find(BY_MAIL) == set()
    assert place.erase(forgotten(SNAPSHOT_IDS)) == ["1 snapshots of an earlier release, whose rows have no ids"]
    frame = pd.read_parquet(path)
    frame[frame[PART].str.startswith("reference")].to_parquet(path)
    assert place.erase(forgotten(SNAPSHOT_IDS)) == [], "it has no row of production"
