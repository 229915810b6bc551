"""What migrations do with existing rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ratchet.loop.machines import register
from ratchet.loop.training_runs import TrainingRuns
from ratchet.registry.promotion_ledger import Ledger
from ratchet.settings import Settings
from ratchet.store import database, leases
from ratchet.store.database import Store
from ratchet.store.erasures import Erasures
from ratchet.store.prediction_batches import row_id
from ratchet.store.predictions import insert_predictions
from ratchet.store.tables import late_predictions, prediction_batches, predictions
from tests.store_rows import batch_of, prediction

REASONS = {
    "every_k_labels: 200 new labels and more": "every_k_labels",
    "drift: drift in 2 of the last 3 windows; quality_drop: quality in 2 of the last 2 windows": "drift,quality_drop",
    "begun by the person on call: drift was seen": "",
}


def store_at(revision: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with an earlier schema."""

    def migrate(store: Store) -> None:
        with store.transaction() as connection:
            database._upgrade(connection, revision)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_migrate", migrate)
        return Store(url)


def test_the_triggers_of_earlier_runs_are_read_from_their_reasons(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = store_at("0003", store_url, monkeypatch)
    run = "INSERT INTO training_runs (model, watermark, config_hash, state, reason, attempts, created_at)"
    with old.transaction() as connection:
        for watermark, reason in enumerate(REASONS):
            statement = sa.text(f"{run} VALUES ('iris', :watermark, 'c', 'refused', :reason, 1, 0)")
            connection.execute(statement, {"watermark": watermark, "reason": reason})
    old.engine.dispose()
    new = Store(store_url)
    assert {found.reason: found.triggers for found in TrainingRuns(new, "iris").history(9)} == REASONS
    new.engine.dispose()


def test_entries_and_leases_of_an_earlier_schema_are_read(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = store_at("0004", store_url, monkeypatch)
    names = "operation_id, model, kind, state, to_version, reason, actor, token, created_at"
    with old.transaction() as connection:
        entry = f"INSERT INTO promotions ({names}) VALUES ('o', 'iris', 'promote', 'completed', '1', 'r', 'a', 1, 0)"
        connection.execute(sa.text(entry))
        connection.execute(sa.text("INSERT INTO leases VALUES ('task', 'other', 4, 0)"))
    old.engine.dispose()
    new = Store(store_url)
    ledger = Ledger(new, "iris")
    (found,) = ledger.history()
    assert (found.to_version, found.pending, ledger.with_pending()) == ("1", None, [])
    assert leases.expired(new, "task") == "other"
    assert leases.acquire(new, "task").token == 5
    new.engine.dispose()


def test_a_store_of_an_earlier_schema_notes_late_predictions(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store_at("0009", store_url, monkeypatch).engine.dispose()
    new = Store(store_url)
    insert_predictions(new, [prediction(1)])
    with new.reading() as connection:
        assert connection.scalars(sa.select(late_predictions.c.id)).all() == [prediction(1)["id"]]
    new.engine.dispose()


def test_a_store_of_an_earlier_schema_takes_batches_and_ids_of_their_rows(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = store_at("0010", store_url, monkeypatch)
    insert_row = "INSERT INTO predictions VALUES (:id, 0, 'iris', '3', '{}', '\"setosa\"', 0.5, NULL, 0.1)"
    with old.transaction() as connection:
        connection.execute(sa.text(insert_row), {"id": prediction(0)["id"]})
    old.engine.dispose()
    new, batch = Store(store_url), batch_of([prediction(0)])
    insert_predictions(new, [batch])
    with new.transaction() as connection:
        row = row_id(batch.id, 0)
        connection.execute(sa.insert(late_predictions).values(model="iris", version="3", id=row))
        connection.execute(sa.text(insert_row), {"id": row})
    with new.reading() as connection:
        assert connection.scalars(sa.select(prediction_batches.c.id)).all() == [batch.id]
        assert connection.scalars(sa.select(predictions.c.id).order_by(predictions.c.id)).all() == [
            prediction(0)["id"],
            row,
        ]
    new.engine.dispose()


def test_a_store_of_an_earlier_schema_takes_homes_that_register(
    store_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store_at("0007", store_url, monkeypatch).engine.dispose()
    assert len(register(Settings(home=tmp_path / "home", database_url=store_url))) == 1


def test_a_store_of_an_earlier_schema_takes_erasures(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store_at("0012", store_url, monkeypatch).engine.dispose()
    new = Store(store_url)
    insert_predictions(new, [prediction(1)])
    ledger = Erasures(new, "iris")
    assert ledger.history() == []
    assert ledger.ids(ledger.begin("ann", "prediction ids", [prediction(1)["id"]], {}, [])) == [prediction(1)["id"]]
    new.engine.dispose()
