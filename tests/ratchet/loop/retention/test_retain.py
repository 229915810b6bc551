"""Retention of rows: which leave the store, where they go, and which are still needed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from ratchet.errors import StateError
from ratchet.loop.retention import mover, tables
from ratchet.loop.retention import retain as module
from ratchet.loop.retention.retain import plan, retain
from ratchet.loop.retention.tables import TABLES
from ratchet.settings import Settings
from ratchet.store.archive import Archive, archive_lease
from ratchet.store.database import Store
from ratchet.store.prediction_batches import row_id
from ratchet.store.predictions import insert_predictions
from ratchet.store.retention_positions import why_gone
from ratchet.store.tables import (
    drift_results,
    feedback,
    holdout_trials,
    label_checks,
    late_predictions,
    metadata,
    quality_results,
    training_runs,
)
from tests.ratchet.loop.retention.aged import (
    DAY,
    aged,
    archived,
    count,
    drift_window,
    forget_late,
    inserted,
    inserted_batch,
    keep,
    labelled,
    left,
    promoted,
    run_of,
    watched,
)

# Tables without rows that grow with traffic or time and are not needed: audit trails, and one row a model or machine.
KEPT = {
    *("promotions", "training_runs", "erasures", "erased_predictions"),
    *("leases", "heartbeats", "machines", "window_positions", "retention_positions"),
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", link_lifetime=5 * DAY)


def test_every_table_is_kept_for_ever_for_a_reason_or_has_limits() -> None:
    assert set(metadata.tables) == KEPT | {entry.table.name for entry in TABLES}


def test_without_limits_nothing_is_moved(settings: Settings, any_store: Store) -> None:
    inserted(any_store, 5000)
    outcome = retain(settings, any_store)
    assert (outcome.action, outcome.moved, len(left(any_store))) == ("", [], 1)


def test_predictions_past_the_days_go_into_the_archive(settings: Settings, store: Store) -> None:
    old, new = inserted(store, 40, 20, 11), inserted(store, 9, 0)
    batch, young = inserted_batch(store, 30), inserted_batch(store, 1)
    outcome = keep(settings, store)
    assert left(store) == sorted([*new, young.id])
    assert archived(settings) == sorted([*old, *(row_id(batch.id, row) for row in range(3))])
    assert {moved.kind: moved.rows for moved in outcome.moved} == {"predictions": 3, "prediction_batches": 3}
    assert not keep(settings, store).moved


def test_archived_rows_are_as_they_were(settings: Settings, store: Store) -> None:
    rows = [aged(20, features={"a": 1.5, "b": "x"}), aged(20, features={"a": 2, "c": [1]}, prediction=1.5, score=None)]
    insert_predictions(store, rows)
    batch = inserted_batch(store, 20)
    keep(settings, store)
    for wanted in (*rows, *batch.rows()):
        found = Archive(settings).find(wanted["id"])
        assert found is not None
        assert found[1] | {"created_at": 0} == wanted | {"created_at": 0}
        assert found[1]["created_at"] == pytest.approx(wanted["created_at"], abs=1e-6)


def test_the_newest_rows_of_each_model_stay(settings: Settings, store: Store) -> None:
    inserted(store, 40, 39)
    batch = inserted_batch(store, 30, 4)
    newest, other = inserted(store, 20, 6), inserted(store, 90, model="wine")
    keep(settings, store, retention_days=None, retention_rows=3)
    assert left(store) == sorted([batch.id, *newest, *other])


def test_rows_are_deleted_where_the_settings_say_so(settings: Settings, store: Store) -> None:
    (old,) = inserted(store, 20)
    labelled(store, [old], 20)
    keep(settings, store, retention="delete")
    assert (left(store), count(store, "feedback"), Archive(settings).files()) == ([], 0, [])
    with store.reading() as connection:
        assert why_gone(connection, "iris", old) == "has been deleted"


def test_a_prediction_stays_as_long_as_a_signed_link_to_it_can_live(settings: Settings, store: Store) -> None:
    ids = inserted(store, 20, 6, 4)
    keep(settings, store, retention_days=1.0)
    assert left(store) == ids[2:]
    keep(settings, store, retention_days=None, retention_rows=1, link_lifetime=3 * DAY)
    assert left(store) == ids[2:]


def test_feedback_follows_its_prediction(settings: Settings, store: Store) -> None:
    old, recent = inserted(store, 20, 9)
    batch = inserted_batch(store, 20)
    numbers = labelled(store, [old, recent, row_id(batch.id, 1)], 12)
    labelled(store, [old], 2, revision=2)
    keep(settings, store)
    assert archived(settings, "feedback", "seq") == [numbers[0], numbers[2]]
    with store.reading() as connection:
        stayed = connection.execute(sa.select(feedback.c.prediction_id, feedback.c.revision)).all()
    assert sorted(stayed) == sorted([(old, 2), (recent, 1)])


def test_rows_that_an_open_run_needs_stay_until_it_has_ended(settings: Settings, store: Store) -> None:
    (old,) = inserted(store, 20)
    (number,) = labelled(store, [old], 20)
    run_of(store, number, "open", 0)
    outcome = keep(settings, store)
    assert (left(store), count(store, "feedback")) == ([old], 1)
    assert "run" in outcome.notes[0]
    with store.transaction() as connection:
        connection.execute(sa.update(training_runs).values(state="refused"))
    keep(settings, store)
    assert (left(store), count(store, "feedback")) == ([], 0)


def test_labels_that_wait_for_a_run_stay_with_their_predictions(settings: Settings, store: Store) -> None:
    used, waiting, unlabelled = inserted(store, 30, 29, 28)
    batch = inserted_batch(store, 25)
    numbers = labelled(store, [used, waiting, row_id(batch.id, 2)], 20)
    run_of(store, numbers[0], "promoted", 19)
    keep(settings, store)
    assert left(store) == sorted([waiting, batch.id])
    assert archived(settings, "feedback", "seq") == numbers[:1]
    assert archived(settings) == sorted([used, unlabelled])


def test_labels_of_the_next_quality_window_stay(settings: Settings, store: Store) -> None:
    ids = inserted(store, *[30] * 6)
    numbers = labelled(store, ids, 20)
    run_of(store, numbers[-1], "promoted", 19)
    promoted(store, "3", 40)
    values = {"model": "iris", "version": "3", "metric": "accuracy", "value": 1.0, "low": 1.0, "high": 1.0}
    values |= {"dropped": False, "report": {}, "created_at": time.time() - 15 * DAY}
    with store.transaction() as connection:
        connection.execute(sa.insert(quality_results).values(**values, last_seq=numbers[-1], n_rows=4))
    keep(settings, store)
    assert left(store) == ids[2:]


def test_rows_of_the_champion_that_no_drift_window_has_judged_stay(settings: Settings, store: Store) -> None:
    promoted(store, "3", 90)
    former, judged, unjudged = inserted(store, 40, 39, 38)
    other = inserted(store, 37, version="2")
    batch = inserted_batch(store, 36)
    drift_window(store, judged, 35)
    keep(settings, store)
    assert left(store) == sorted([unjudged, batch.id])
    assert archived(settings) == sorted([former, judged, *other])


def test_late_rows_that_no_drift_window_has_judged_stay(settings: Settings, store: Store) -> None:
    promoted(store, "3", 90)
    late, judged = inserted(store, 40, 39)
    batch = inserted_batch(store, 38.5)
    drift_window(store, batch.id + "#99998", 35)
    former = inserted(store, 100)
    with store.transaction() as connection:
        noted = [(late, "3"), (batch.id, "3"), (former[0], "3"), (judged, "2")]
        connection.execute(
            sa.insert(late_predictions), [{"model": "iris", "version": of, "id": one} for one, of in noted]
        )
    keep(settings, store)
    assert left(store) == sorted([late, batch.id])
    with store.reading() as connection:
        assert sorted(connection.scalars(sa.select(late_predictions.c.id))) == sorted([late, batch.id])


def test_rows_wait_for_a_watcher_before_its_first_window(settings: Settings, store: Store) -> None:
    promoted(store, "3", 90)
    ids = inserted(store, 100, 40)
    watched(store)
    keep(settings, store)
    assert left(store) == ids[1:]


def test_rows_do_not_wait_for_a_watcher_that_is_gone(settings: Settings, store: Store) -> None:
    promoted(store, "3", 90)
    ids = inserted(store, 40)
    labelled(store, ids, 30)
    watched(store, days=8)
    keep(settings, store)
    assert (left(store), count(store, "feedback")) == ([], 0)


def test_only_so_many_rows_wait(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.loop.retention.needs.MOST_WAITING", 2)
    promoted(store, "3", 90)
    ids = inserted(store, 40, 39, 38, 37)
    labelled(store, ids, 30)
    watched(store)
    keep(settings, store)
    assert left(store) == ids[2:]


def test_the_newest_windows_stay_and_the_last_judged_prediction_is_known(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoted(store, "3", 90)
    ids = inserted(store, *range(60, 20, -1))
    drift_window(store, ids[-1], 50)
    for last in ids[:-1]:
        drift_window(store, last, 20)
    _with_newest(monkeypatch, 5)
    keep(settings, store)
    with store.reading() as connection:
        found = connection.scalars(sa.select(drift_results.c.last_prediction).order_by(drift_results.c.id)).all()
    assert found == [ids[-1], *ids[-6:-1]]


def _with_newest(monkeypatch: pytest.MonkeyPatch, newest: int) -> None:
    entry = tables._numbered(drift_results, "id", newest, tables._drift_may_go)
    monkeypatch.setattr(module, "TABLES", tuple(entry if each.table is drift_results else each for each in TABLES))


def test_checks_of_labels_and_trials_go_when_many_are_newer(settings: Settings, store: Store) -> None:
    at = time.time() - 20 * DAY
    check = {"model": "iris", "last_seq": 1, "biased": False, "report": {"a": {"b": 1}}, "created_at": at}
    trial = {"model": "iris", "source": "s", "ids": b"\0\1", "contents": b"\2", "created_at": at}
    with store.transaction() as connection:
        connection.execute(sa.insert(label_checks), [check] * 103)
        connection.execute(sa.insert(holdout_trials), [trial | {"trial": str(number)} for number in range(2001)])
    keep(settings, store)
    assert (count(store, "label_checks"), len(archived(settings, "label_checks"))) == (100, 3)
    assert (count(store, "holdout_trials"), len(archived(settings, "holdout_trials"))) == (2000, 1)


def test_a_plan_counts_what_would_leave_and_changes_nothing(settings: Settings, store: Store) -> None:
    old = inserted(store, 40, 20)
    inserted_batch(store, 30, 5)
    labelled(store, old, 15)
    found = plan(settings.model_copy(update={"retention_days": 10.0}), store)
    counted = {moved.kind: moved.rows for moved in found.moved}
    # feedback waits for its prediction
    assert counted == {"predictions": 2, "prediction_batches": 5}
    assert found.moved[0].oldest == pytest.approx(time.time() - 40 * DAY, abs=100)
    assert all(moved.size > 0 for moved in found.moved)
    assert (count(store, "predictions"), Archive(settings).files()) == (2, [])


def test_rows_of_one_day_are_in_one_file_however_often_retention_runs(settings: Settings, any_store: Store) -> None:
    day = 20.0
    for _ in range(3):
        inserted(any_store, day)
        inserted_batch(any_store, day)
        keep(settings, any_store)
    archive = Archive(settings)
    assert len(archive.files()) <= 2  # the day can end between the rows
    assert len(archived(settings)) == len(set(archived(settings))) == 12
    frame = pd.read_parquet(Path(archive.root, "predictions"))
    assert len(frame) == 12


def test_a_row_that_was_archived_before_is_not_archived_twice(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = inserted(store, 22, 21.9, 21)
    batch = inserted_batch(store, 21)

    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mover.Mover, "_delete", killed)
        with pytest.raises(KeyboardInterrupt):
            keep(settings, store)
    assert archived(settings)
    more = inserted(store, 21.95)
    keep(settings, store)
    assert archived(settings) == sorted([*ids, *more, *(row_id(batch.id, row) for row in range(3))])
    assert left(store) == []


def test_feedback_that_arrives_during_a_move_keeps_its_prediction(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = inserted(store, 21, 20)
    run_of(store, 0, "promoted", 30)
    delete: Callable[..., tuple[int, float]] = mover.Mover._delete_at_once

    def labelled_meanwhile(self: Any, table: Any, needs: Any, keys: Any) -> tuple[int, float]:
        if second in keys:
            labelled(store, [second], 0)
        return delete(self, table, needs, keys)

    monkeypatch.setattr(mover.Mover, "_delete_at_once", labelled_meanwhile)
    keep(settings, store)
    assert left(store) == [second]
    monkeypatch.undo()
    run_of(store, 10**9, "promoted", 0)
    keep(settings, store)
    assert (left(store), archived(settings)) == ([], [first, second])


def test_one_process_at_a_time_moves_rows(settings: Settings, any_store: Store) -> None:
    inserted(any_store, 20)
    with archive_lease(any_store), pytest.raises(StateError, match="archive is held"):
        keep(settings, any_store)


def test_an_archive_that_cannot_be_written_leaves_the_rows(
    settings: Settings, any_store: Store, tmp_path: Path
) -> None:
    ids = inserted(any_store, 20)
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="RATCHET_ARCHIVE"):
        keep(settings, any_store, archive=str(tmp_path / "file"))
    assert left(any_store) == ids


def test_the_position_tells_predictions_that_left_from_those_that_never_were(settings: Settings, store: Store) -> None:
    old, new = inserted(store, 20, 2)
    batch = inserted_batch(store, 15)
    keep(settings, store)
    with store.reading() as connection:
        assert why_gone(connection, "iris", old) == "has been archived"
        assert why_gone(connection, "iris", row_id(batch.id, 1)) == "has been archived"
        assert why_gone(connection, "iris", new) is None
        assert why_gone(connection, "wine", old) is None
        assert why_gone(connection, "iris", "0") is None


def test_models_without_a_promotion_have_their_rows_moved(settings: Settings, store: Store) -> None:
    inserted(store, 20, model="a model.joblib")
    forget_late(store)
    keep(settings, store)
    assert [file.model for file in Archive(settings).files()] == ["a model.joblib"]
